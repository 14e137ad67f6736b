// node flip_bytes.mjs STORE STEP: flip every STEP-th byte of every file, one at a time, and read the store.
// Prints {"flips": n, "noticed": n, "changed": [...]}: the flips that changed a value without an error.
import fs from "node:fs";
import path from "node:path";
import { openStore, StoreError } from "../../readers/javascript/essence.mjs";

const [root, step] = [process.argv[2], Number(process.argv[3])];

async function readAll() {
  const store = await openStore(root);
  const values = [];
  for (const id of store.utterances.keys())
    for (const k of [1, store.about.get("kept")])
      values.push([id, k, ...Object.values(await store.read(id, { k })).map(String)]);
  return JSON.stringify(values);
}

const wanted = await readAll();
const found = { flips: 0, noticed: 0, changed: [] };
let before = 0; // bytes of the files before this one
for (const entry of fs.readdirSync(root, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const file = path.join(entry.parentPath, entry.name);
  const content = fs.readFileSync(file);
  for (let n = (step - (before % step)) % step; n < content.length; n += step) {
    const flipped = Buffer.from(content);
    flipped[n] ^= 1 << (n % 8);
    fs.writeFileSync(file, flipped);
    found.flips++;
    try {
      if ((await readAll()) !== wanted) found.changed.push(`${file}, byte ${n}`);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      found.noticed++;
    }
  }
  fs.writeFileSync(file, content);
  before += content.length;
}
console.log(JSON.stringify(found));
