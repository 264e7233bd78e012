// A worker, written from coordinator.proto alone: takes one task, does it, and leaves once told that
// its end is on disk. It does not survive a broken stream; the head of that file says how one would.
"use strict";

const { writeFileSync } = require("node:fs");
const { join } = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const { COORD_ADDRESS, COORD_TOKEN, COORD_PROJECT, COORD_WORKER, COORD_PROTO } = process.env;
const contract = loader.loadSync("coord/v1/coordinator.proto", {
  includeDirs: [COORD_PROTO],
  keepCase: true,
  oneofs: true,
  // Fencing tokens have 64 bits, JavaScript's numbers 53.
  longs: String,
});
const { CoordinatorService } = grpc.loadPackageDefinition(contract).coord.v1;

const client = new CoordinatorService(COORD_ADDRESS, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${COORD_TOKEN}`);
const stream = client.Connect(metadata);

let sent = 0; // The number of the last message that has one.
let handled = 0; // The coordinator's highest number so far.
let held = []; // The attempts whose end is not acknowledged.
let end = Infinity; // The number of the message that ends the attempt.
let heart;

const tell = (message) => stream.write({ acknowledged: handled, ...message });
const report = (message) => tell({ sequence: ++sent, ...message });

function work({ lease, worktree }) {
  const attempt = { task_id: lease.spec.id, fencing_token: lease.attempt.fencing_token };
  held = [attempt];
  report({ started: { attempt } });
  report({ progress: { attempt, progress: { summary: "writing", fraction: 0.5 } } });
  writeFileSync(join(worktree.path, "javascript.txt"), `${lease.spec.prompt}\n`);
  const amount = { currency: "USD", nanos: 20_000_000 };
  report({ spent: { attempt, entry_id: `js-${attempt.fencing_token}`, amount } });
  report({ complete: { attempt, message: "written in JavaScript" } });
  end = sent;
}

function welcome({ heartbeat_interval: interval }) {
  const ms = Number(interval.seconds) * 1000 + interval.nanos / 1e6;
  heart = setInterval(() => tell({ heartbeat: { held } }), ms);
}

stream.on("data", (response) => {
  const number = Number(response.sequence);
  if (number > 0 && number <= handled) return; // Sent again after a break.
  handled = Math.max(handled, number);
  if (response.message === "welcome") welcome(response.welcome);
  if (response.message === "assigned") work(response.assigned);
  if (Number(response.acknowledged) >= end) {
    clearInterval(heart);
    stream.end();
  }
});
stream.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
stream.on("end", () => client.close());
tell({
  hello: {
    protocol_version: 1,
    project: COORD_PROJECT,
    worker: COORD_WORKER,
    instance: `${COORD_WORKER}-${process.pid}-${Date.now()}`,
    slots: 1,
  },
});
