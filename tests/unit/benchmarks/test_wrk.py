"""Parsing the output of wrk."""

import pytest

from benchmarks import wrk
from benchmarks.work import BenchmarkError

OUTPUT = """Running 2s test @ http://127.0.0.1:37041/predict
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.50ms    2.02ms  23.90ms   77.61%
    Req/Sec     9.79k   412.91    10.42k    71.43%
  20455 requests in 2.10s, 4.10MB read
Requests/sec:   9740.12
Transfer/sec:      1.95MB
RESULT {"requests":20455,"duration_us":2100076,"bytes":4299112,"mean_us":6501.2,"p50_us":6120,"p90_us":9011,\
"p99_us":15204,"max_us":23901,"not_2xx":455,"connect_errors":1,"read_errors":2,"write_errors":3,"timeouts":4}
"""


def test_a_result_is_read_in_seconds_and_milliseconds_and_counts_good_answers_only() -> None:
    load = wrk.parse(OUTPUT)
    assert load.rate == pytest.approx(20_000 / 2.100076)
    assert (load.p50_ms, load.p99_ms, load.max_ms) == (6.12, 15.204, 23.901)
    assert (load.not_2xx, load.failed) == (455, 10)


def test_output_without_a_result_is_an_error_with_wrks_message() -> None:
    with pytest.raises(BenchmarkError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:9 Connection refused\n")


def test_a_load_without_an_answer_is_an_error() -> None:
    nothing = OUTPUT.replace('"requests":20455', '"requests":0')
    with pytest.raises(BenchmarkError, match=r"no answer \(10 failures\)"):
        wrk.parse(nothing)


def test_a_missing_wrk_is_one_sentence_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchmarkError, match="apt install wrk"):
        wrk.find()
