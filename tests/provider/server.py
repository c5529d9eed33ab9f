"""A scripted provider: a real HTTP server that speaks OpenAI Responses, OpenAI Chat Completions, Anthropic Messages and
Gemini generateContent, and answers from data files.

    python server.py SCENARIO.json --log REQUESTS.jsonl      (prints the port that it listens on)

A scenario names, for each model, the steps that its attempts at a problem take; attempts are told apart by the
Idempotency-Key, so a repeated question gets the same answer and is billed once. A step:

    {"kernel": "correct"}                 tests/provider/kernels/PROBLEM/correct.md, or metal_kernels.py; PROBLEM and
                                          target are read off the prompt
    {"text": "..."} or {"file": "x.md"}   a fixed reply
    "form": "plain" | "tilde" | "object" | "untagged" | "chatty"
    "usage": {"input", "cached", "cache_write", "output", "reasoning"}, "delay_s", "chunk_bytes"
    "fault": {"kind": "status", "status": 429, "headers": {...}, "body": {...}}, {"kind": "cut"},
             {"kind": "error_event", "body": {...}}, {"kind": "huge", "bytes": N}, {"kind": "invalid_utf8"},
             {"kind": "no_end"}, {"kind": "hang"}, {"kind": "close"}, each with "times" (default: for ever)

Top level: "key" (requests must carry it), "key_lives" (it expires after so many requests), "models".
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import metal_kernels

HERE = Path(__file__).resolve().parent
Json = dict[str, Any]
USAGE = {"input": 1000, "cached": 0, "cache_write": 0, "output": 500, "reasoning": 0}


class Refused(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


# --- the four protocols: what a request must look like, and how a reply is cut into events ---


def need(body: Json, *keys: str) -> None:
    for key in keys:
        if key not in body:
            raise Refused(400, "invalid_request_error", f"the request lacks {key}")


def only(body: Json, *keys: str) -> None:
    for key in body:
        if key not in keys:
            raise Refused(400, "invalid_request_error", f"unsupported parameter: {key}")


def responses_prompt(body: Json) -> str:
    need(body, "model", "instructions", "input", "max_output_tokens", "stream")
    only(
        body, "model", "instructions", "input", "max_output_tokens", "stream", "store", "prompt_cache_key", "reasoning"
    )
    return body["instructions"] + "".join(part["text"] for part in body["input"][0]["content"])


def responses_events(model: str, pieces: list[str], u: Json) -> Iterator[tuple[str, Any]]:
    yield "response.created", {"type": "response.created", "sequence_number": 0}
    for i, piece in enumerate(pieces):
        delta = {"type": "response.output_text.delta", "sequence_number": i + 1, "delta": piece}
        yield "response.output_text.delta", delta
    usage = {
        "input_tokens": u["input"],
        "input_tokens_details": {"cached_tokens": u["cached"], "cache_write_tokens": u["cache_write"]},
        "output_tokens": u["output"],
        "output_tokens_details": {"reasoning_tokens": u["reasoning"]},
    }
    done = {"type": "response.completed", "response": {"status": "completed", "model": model, "usage": usage}}
    yield "response.completed", done


def chat_prompt(body: Json) -> str:
    need(body, "model", "messages", "max_tokens", "stream", "stream_options")
    only(body, "model", "messages", "max_tokens", "stream", "stream_options", "temperature", "seed")
    return "\n".join(message["content"] for message in body["messages"])


def chat_events(model: str, pieces: list[str], u: Json) -> Iterator[tuple[str, Any]]:
    for piece in pieces:
        yield "", {"model": model, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
    yield "", {"model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {
        "prompt_tokens": u["input"],
        "prompt_tokens_details": {"cached_tokens": u["cached"]},
        "completion_tokens": u["output"],
        "completion_tokens_details": {"reasoning_tokens": u["reasoning"]},
    }
    yield "", {"model": model, "choices": [], "usage": usage}
    yield "", "[DONE]"


def messages_prompt(body: Json) -> str:
    need(body, "model", "max_tokens", "system", "messages", "stream")
    only(body, "model", "max_tokens", "system", "messages", "stream", "output_config")
    if body["system"][0].get("cache_control") != {"type": "ephemeral"}:
        raise Refused(400, "invalid_request_error", "the fixed prefix is not marked for the cache")
    return body["system"][0]["text"] + "".join(part["text"] for part in body["messages"][0]["content"])


def messages_events(model: str, pieces: list[str], u: Json) -> Iterator[tuple[str, Any]]:
    usage = {
        "input_tokens": u["input"] - u["cached"] - u["cache_write"],
        "cache_read_input_tokens": u["cached"],
        "cache_creation_input_tokens": u["cache_write"],
        "output_tokens": 1,
    }
    yield "message_start", {"type": "message_start", "message": {"model": model, "usage": usage}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield "content_block_start", block
    yield "ping", {"type": "ping"}
    for piece in pieces:
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        yield "content_block_delta", delta
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": u["output"]}}
    yield "message_delta", end
    yield "message_stop", {"type": "message_stop"}


def gemini_prompt(body: Json) -> str:
    need(body, "systemInstruction", "contents", "generationConfig")
    need(body["generationConfig"], "maxOutputTokens")
    parts = body["systemInstruction"]["parts"] + body["contents"][0]["parts"]
    return "".join(part["text"] for part in parts)


def gemini_events(model: str, pieces: list[str], u: Json) -> Iterator[tuple[str, Any]]:
    usage = {
        "promptTokenCount": u["input"],
        "cachedContentTokenCount": u["cached"],
        "candidatesTokenCount": u["output"] - u["reasoning"],
        "thoughtsTokenCount": u["reasoning"],
    }
    for i, piece in enumerate(pieces):
        candidate: Json = {"content": {"role": "model", "parts": [{"text": piece}]}}
        if i == len(pieces) - 1:
            candidate["finishReason"] = "STOP"
        yield "", {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}


WIRES = {
    "responses": (responses_prompt, responses_events),
    "chat": (chat_prompt, chat_events),
    "messages": (messages_prompt, messages_events),
    "gemini": (gemini_prompt, gemini_events),
}
PATHS = [
    (re.compile(r"/v1/responses$"), "responses"),
    (re.compile(r"/v1/chat/completions$"), "chat"),
    (re.compile(r"/v1/messages$"), "messages"),
    (re.compile(r"/v1beta/models/(?P<model>[^:]+):streamGenerateContent\?alt=sse$"), "gemini"),
]


# --- the script ---


class Script:
    def __init__(self, scenario: Json, log: Path | None) -> None:
        self.scenario, self.log = scenario, log
        self.lock = threading.Lock()
        self.keys: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.tries: dict[tuple[str, str, str], int] = defaultdict(int)
        self.requests = 0

    def admit(self, key: str) -> None:
        with self.lock:
            self.requests += 1
            lives = self.scenario.get("key_lives")
            if "key" in self.scenario and key != self.scenario["key"]:
                raise Refused(401, "authentication_error", f"Incorrect API key provided: {key}")
            if lives is not None and self.requests > lives:
                raise Refused(401, "authentication_error", f"the key {key} has expired")

    def step(self, model: str, problem: str, key: str) -> tuple[Json, int, int]:
        """The step of this attempt, its number, and which request of it this is (from 1)."""
        if model not in self.scenario["models"]:
            raise Refused(404, "not_found_error", f"model: {model}")
        with self.lock:
            seen = self.keys[model, problem]
            if key not in seen:
                seen.append(key)
            number = seen.index(key)
            self.tries[model, problem, key] += 1
            tries = self.tries[model, problem, key]
        steps = self.scenario["models"][model]
        return steps[min(number, len(steps) - 1)], number, tries

    def write(self, row: Json) -> None:
        if self.log is None:
            return
        with self.lock, self.log.open("a") as out:
            out.write(json.dumps(row) + "\n")


def reply_text(step: Json, problem: str, metal: bool) -> str:
    if "text" in step:
        text = str(step["text"])
    elif "file" in step:
        text = (HERE / step["file"]).read_text()
    elif metal:
        text = metal_kernels.reply(problem, step["kernel"])
    else:
        text = (HERE / "kernels" / problem / f"{step['kernel']}.md").read_text()
    return in_form(text, step.get("form", "plain"))


def in_form(text: str, form: str) -> str:
    """The same reply as other models would write it."""
    if form == "tilde":
        return text.replace("```", "~~~~")
    if form == "untagged":
        return re.sub(r"```(cpp|json)", "```", text)
    if form == "chatty":
        plan = "Here is the launch plan, with no trailing commas:\n```json"
        thought = "<think>\nA first draft:\n```cpp\nnot this\n```\n</think>\nCertainly! Here is my kernel.\n\n"
        return thought + text.replace("```cpp", "```C++ kernel.cpp").replace("```json", plan).replace("\n", "\r\n")
    if form == "object":
        source, plan = re.findall(r"```\w+\n(.*?)```", text, re.S)
        return json.dumps({"source": source, "plan": json.loads(plan)})
    return text


def pieces_of(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)] or [""]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.refuse(404, {}, {"error": {"type": "not_found_error", "message": self.path}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        row: Json = {
            "t": time.time(),
            "path": self.path,
            "key": self.headers.get("Idempotency-Key", ""),
            "billed": None,
        }
        try:
            self.answer(body, row)
        except Refused as no:
            row["status"] = no.status
            self.refuse(no.status, {}, {"error": {"type": no.kind, "message": str(no), "code": no.kind}}, row)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client left

    def answer(self, body: Json, row: Json) -> None:
        wire, model = self.wire(body)
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.script.admit(self.headers.get("x-api-key") or self.headers.get("x-goog-api-key") or bearer)
        prompt = WIRES[wire][0](body)
        found = re.search(r"^# The problem: (\S+)$", prompt, re.M)
        problem = found.group(1) if found else ""
        step, number, tries = self.script.step(model, problem, row["key"])
        row.update(wire=wire, model=model, problem=problem, number=number, tries=tries, status=200)
        row["prompt_bytes"], row["metal"] = len(prompt.encode()), "# The target: an Apple GPU" in prompt
        time.sleep(step.get("delay_s", 0))
        fault = step.get("fault", {})
        if tries > fault.get("times", 1 << 30):
            fault = {}
        self.play(wire, model, step, fault, problem, row)

    def wire(self, body: Json) -> tuple[str, str]:
        for pattern, wire in PATHS:
            if found := pattern.search(self.path):
                return wire, found.groupdict().get("model") or body["model"]
        raise Refused(404, "not_found_error", self.path)

    def play(self, wire: str, model: str, step: Json, fault: Json, problem: str, row: Json) -> None:
        kind = fault.get("kind", "")
        if kind == "status":
            row["status"] = fault["status"]
            default = {"error": {"type": "scripted", "message": "scripted refusal"}}
            return self.refuse(fault["status"], fault.get("headers", {}), fault.get("body", default), row)
        if kind in ("close", "hang"):
            self.script.write(row)
        if kind == "hang":
            time.sleep(fault.get("seconds", 30))
        if kind in ("close", "hang"):
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        text = "x" * fault["bytes"] if kind == "huge" else reply_text(step, problem, row["metal"])
        usage = {**USAGE, **step.get("usage", {})}
        row["billed"] = usage
        events = list(WIRES[wire][1](model, pieces_of(text, step.get("chunk_bytes", 512)), usage))
        self.script.write(row)
        self.stream(events, fault)

    def refuse(self, status: int, headers: Json, body: Any, row: Json | None = None) -> None:
        if row is not None:  # before the client can know
            self.script.write(row)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, events: list[tuple[str, Any]], fault: Json) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b": a comment that nobody reads\n\n")
        kind = fault.get("kind", "")
        half = len(events) // 2
        for i, (name, data) in enumerate(events):
            if kind in ("cut", "no_end", "error_event") and i == half:
                break
            self.chunk(event_bytes(name, data, kind == "invalid_utf8" and i == half))
        if kind == "error_event":
            self.chunk(event_bytes("error", fault["body"], False))
        if kind == "cut":  # the promised next chunk never comes
            self.wfile.write(b"40\r\ndata: {")
            self.wfile.flush()
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def event_bytes(name: str, data: Any, broken: bool) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    encoded = text.encode()
    if broken:  # a lone continuation byte inside a string
        encoded = encoded.replace(b'"', b'"\x80', 1) if b'"' in encoded else encoded + b"\x80"
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + encoded + b"\n\n"


class QuietServer(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # connections are cut on purpose


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    Handler.script = Script(json.loads(options.scenario.read_text()), options.log)
    server = QuietServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    # The server ends with whoever started it.
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
