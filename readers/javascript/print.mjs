// node print.mjs STORE [--k K]... [UTTERANCE...]: a JSON object for each k and utterance; all by default.
// Exit code: 3 for damage, 4 for a store under construction, 1 for other errors.
import { parseArgs } from "node:util";
import { DamagedStore, openStore, UnderConstruction } from "./essence.mjs";

async function main() {
  const options = { k: { type: "string", multiple: true } };
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  const [root, ...wanted] = positionals;
  const store = await openStore(root);
  for (const k of (values.k ?? [store.about.get("kept")]).map(Number))
    for (const id of wanted.length ? wanted : store.utterances.keys()) {
      const { numFrames, ...found } = await store.read(id, { k });
      const [counts, ids, probs, tails] = ["counts", "ids", "probs", "tails"].map((name) => [...found[name]]);
      console.log(JSON.stringify({ id, k, numFrames, counts, ids, probs, tails }));
    }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = error instanceof DamagedStore ? 3 : error instanceof UnderConstruction ? 4 : 1;
});
