-- wrk -s post.lua URL -- CONTENT_TYPE FILE [HEADER VALUE]...
-- Posts the bodies of FILE in turn: one a line, or with CONTENT_TYPE "whole:TYPE" the whole file as one body.
-- Prints one line of JSON at the end, which benchmarks/wrk.py reads.

local requests = {}
local turn = 0

function init(args)
  local whole, kind = args[1]:match("^(whole:)(.*)$")
  local file = assert(io.open(args[2], "rb"))
  local headers = { ["Content-Type"] = kind or args[1] }
  for index = 3, #args, 2 do headers[args[index]] = args[index + 1] end
  headers["Host"] = wrk.headers["Host"]
  if whole then
    requests[1] = wrk.format("POST", nil, headers, file:read("*a"))
  else
    for line in file:lines() do requests[#requests + 1] = wrk.format("POST", nil, headers, line) end
  end
  file:close()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"bytes":%d,"mean_us":%.1f,"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d,'
      .. '"not_2xx":%d,"connect_errors":%d,"read_errors":%d,"write_errors":%d,"timeouts":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency.mean, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency.max, errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
