"""A client of AWS's wire API that costs little: wrk, with a request that is signed once and sent again and again.

A client in Python took as much processor time as the server, on the same machine.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from forebay_bench import servers

SECONDS_MAX = 300

COMMON = """
local ffi = require("ffi")
ffi.cdef[[ typedef struct { long s; long ns; } moment; int clock_gettime(int, moment *); ]]
local moment, count, begun = ffi.new("moment"), tonumber(os.getenv("COUNT")), nil

local function now()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.s) + tonumber(moment.ns) / 1e9
end

local function file(name)
  local open = assert(io.open(os.getenv("PARTS") .. "/" .. name, "rb"))
  local text = open:read("*a")
  open:close()
  return text
end

function init()
  begun = now()
end

local function tell(line)
  if count then
    count = nil
    io.write(line, "\\n")
    io.flush()
    wrk.thread:stop()
  end
end

local function done(more)
  if count then
    count = count - more
    if count <= 0 then tell(tostring(now() - begun)) end
  end
end
"""

SEND = """
local text = file("request")

function request()
  return text
end

function response(status, headers, body)
  if status == 200 then done(1) else tell("failed: " .. status .. " " .. body) end
end
"""

DRAIN = """
local url, heads, full = file("url"), { receive = file("receive"), delete = file("delete") }, {}

local function filled(head, body)
  return (head:gsub("LENGTH", #body, 1)) .. body
end

local receive = filled(heads.receive, '{"QueueUrl": "' .. url .. '", "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}')

function request()
  local entries = table.remove(full)
  if not entries then return receive end
  return filled(heads.delete, '{"QueueUrl": "' .. url .. '", "Entries": [' .. table.concat(entries, ",") .. ']}')
end

function response(status, headers, body)
  if status ~= 200 then return tell("failed: " .. status .. " " .. body) end
  local entries = {}
  for handle in body:gmatch('"ReceiptHandle": *"([^"]+)"') do
    entries[#entries + 1] = '{"Id": "' .. #entries .. '", "ReceiptHandle": "' .. handle .. '"}'
  end
  if #entries > 0 then
    full[#full + 1] = entries
  elseif body:find('"Successful"', 1, true) then
    local _, deleted = body:gsub('"Id"', "")
    done(deleted)
  end
end
"""


def written(folder: str, parts: dict[str, bytes]) -> str:
    """Write files; give the path of the last one."""
    for name, data in parts.items():
        Path(folder, name).write_bytes(data)
    return str(Path(folder, name))


async def load(port: int, connections: int, count: int, script: str, parts: dict[str, bytes]) -> float:
    """Have so many requests answered, or so many messages deleted; give the seconds."""
    wrk = servers.program("wrk", "apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, {**parts, "script.lua": (COMMON + script).encode()})
        process = await asyncio.create_subprocess_exec(
            *(wrk, "-t1", f"-c{connections}", f"-d{SECONDS_MAX}s", "--timeout", "20s", "-s", path),
            f"http://127.0.0.1:{port}/",
            env=os.environ | {"COUNT": str(count), "PARTS": folder},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            return await seconds_of(process)
        finally:
            process.terminate()
            await process.wait()


async def seconds_of(process: asyncio.subprocess.Process) -> float:
    """Read what wrk tells, what it says of itself first, up to the seconds."""
    told = ""
    while process.stdout and (line := (await process.stdout.readline()).decode()):
        if line[:1].isdigit():
            return float(line)
        told += line
        if line.startswith("failed"):
            break
    message = f"the load failed: {told}"
    raise RuntimeError(message)
