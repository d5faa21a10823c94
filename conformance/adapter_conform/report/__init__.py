"""What comes out of a run: results.jsonl, results.json, junit.xml, report.html, and the words on the terminal."""

from adapter_conform.report.folder import OutputFolder, RecordWriter
from adapter_conform.report.html import render_html
from adapter_conform.report.junit import render_junit
from adapter_conform.report.summary import RunResult, build_summary

__all__ = ["OutputFolder", "RecordWriter", "RunResult", "build_summary", "render_html", "render_junit"]
