/* Reads, one path a line, files as the page does; answers a line of JSON for each. */
import console from "node:console";
import process from "node:process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const { modelFromFile, forward } = await import(process.argv[2]);

for await (const path of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const bytes = readFileSync(path);
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const model = modelFromFile(buffer);
    const { in_channels: C, image_size: [H, W] } = model.config; // prettier-ignore
    if (C * H * W < 1e5 && model.macs < 1e8) forward(model, new Float32Array(C * H * W));
    answer = { ok: true };
  } catch (error) {
    // the engine's own words come in a plain Error
    answer = { clear: error.constructor === Error, name: error.name, message: error.message };
  }
  console.log(JSON.stringify(answer));
}
