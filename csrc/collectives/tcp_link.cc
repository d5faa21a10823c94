#include "collectives/tcp_link.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace adapter::collectives {
namespace {

// A ring within this process, between the socket and the user.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : data_(bytes) {}
  Room room() {
    const size_t at = filled_ % data_.size();
    return {data_.data() + at, std::min<size_t>(data_.size() - (filled_ - emptied_), data_.size() - at)};
  }
  Arrived content() const {
    const size_t at = emptied_ % data_.size();
    return {data_.data() + at, std::min<size_t>(filled_ - emptied_, data_.size() - at)};
  }
  void fill(size_t bytes) { filled_ += bytes; }
  void empty(size_t bytes) { emptied_ += bytes; }

 private:
  std::vector<std::byte> data_;
  uint64_t filled_ = 0, emptied_ = 0;
};

class TcpLink final : public Link {
 public:
  TcpLink(Socket socket, size_t buffer_bytes, std::string name)
      : socket_(std::move(socket)), name_(std::move(name)), out_(buffer_bytes), in_(buffer_bytes) {
    socket_.make_non_blocking();
  }

  Room room() override {
    push();
    return out_.room();
  }
  void commit(size_t bytes) override {
    out_.fill(bytes);
    push();
  }
  Arrived arrived() override {
    pull();
    return in_.content();
  }
  void consume(size_t bytes) override { in_.empty(bytes); }
  bool flushed() override {
    push();
    return out_.content().bytes == 0;
  }
  std::string gone() override {
    pull();
    return lost_;
  }
  // Closing it would throw away what the other side has not read yet, such as the reason for hanging up.
  void hang_up() override { ::shutdown(socket_.descriptor(), SHUT_WR); }
  int descriptor() const override { return socket_.descriptor(); }

 private:
  void push() {
    for (Arrived waiting = out_.content(); waiting.bytes > 0 && lost_.empty(); waiting = out_.content()) {
      const ssize_t sent = ::send(socket_.descriptor(), waiting.data, waiting.bytes, MSG_NOSIGNAL);
      if (sent <= 0) return void(note(errno));
      out_.empty(static_cast<size_t>(sent));
    }
  }
  void pull() {
    for (Room free = in_.room(); free.bytes > 0 && !closed_; free = in_.room()) {
      const ssize_t got = ::recv(socket_.descriptor(), free.data, free.bytes, 0);
      if (got < 0) {
        closed_ = note(errno);
        return;
      }
      if (got == 0) {
        closed_ = true;
        lost_ = name_ + " has closed its connection: it has ended, or has given up";
        return;
      }
      in_.fill(static_cast<size_t>(got));
    }
  }
  // True when the connection is lost. What has come before can still be read: it may say why.
  bool note(int error) {
    if (error == EAGAIN || error == EINTR) return false;
    lost_ = "the connection to " + name_ + " is lost: " + std::strerror(error);
    return true;
  }

  Socket socket_;
  const std::string name_;
  Buffer out_, in_;
  bool closed_ = false;
  std::string lost_;
};

}  // namespace

std::unique_ptr<Link> make_tcp_link(Socket socket, size_t buffer_bytes, std::string other_name) {
  return std::make_unique<TcpLink>(std::move(socket), buffer_bytes, std::move(other_name));
}

}  // namespace adapter::collectives
