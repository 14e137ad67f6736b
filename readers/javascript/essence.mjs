/**
 * Reads soft-label stores of formats 1 and 2, as docs/store-format.md specifies them.
 *
 *     const store = await openStore("train.zarr");
 *     const { numFrames, ids, probs, tails } = await store.read("utterance", { k: 8 });
 *
 * `ids` and `probs` are (numFrames, k), row after row, `tails` (numFrames). In a pruned store frame n has
 * `counts[n]` ranks; zeros follow. Damage is an error (DamagedStore) that names the object, never data.
 * Sections in comments are those of the specification.
 */
import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import Blosc from "numcodecs/blosc";
import Zstd from "numcodecs/zstd";

export class StoreError extends Error {}
export class DamagedStore extends StoreError {} // what lies there is not what was written
export class UnderConstruction extends StoreError {} // no HEAD: not sealed, or a copy was interrupted
export class PartialCopy extends StoreError {} // this copy leaves out what was asked for
export class UnsupportedStore extends StoreError {} // a format or codec that is not known here

const SHA256 = /^[0-9a-f]{64}$/;
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const PROB_OF_CODE = Float64Array.from({ length: 256 }, (_, q) => Math.exp(-16 * (q / 255) ** 2));
const DECOMPRESS = { blosc: new Blosc(), zstd: new Zstd() };
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array };
if (os.endianness() !== "LE") throw new Error("essence.mjs runs on little-endian machines only");

function check(holds, name, what) {
  if (!holds) throw new DamagedStore(`${name}: ${what}`);
}

const decodeText = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

/**
 * Section 9. JSON.parse takes a key that stands twice, and 2.0 for an integer, so here it checks the
 * grammar alone. Objects become Maps; numbers with fraction or exponent are boxed, and so no integers.
 */
function parseJson(bytes, name) {
  let [tokens, next] = [[], 0];
  const value = () => {
    const token = tokens[next++];
    const [list, object] = [[], new Map()];
    if (token === "[") for (; tokens[next] !== "]"; ) list.push(value());
    else if (token === "{")
      for (let key; tokens[next] !== "}"; object.set(key, value()))
        if (object.has((key = value()))) throw new Error(`the key ${key} twice`);
    if (token === "[" || token === "{") return (next++, token === "[" ? list : object);
    const found = JSON.parse(token);
    if (found?.isWellFormed?.() === false || Math.abs(found) === Infinity) throw new Error(`the value ${token}`);
    return typeof found === "number" && /[.eE]/.test(token) ? Object(found) : found;
  };
  try {
    const text = decodeText(bytes);
    JSON.parse(text);
    tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\]]|[^\s,:{}[\]"]+/g);
    return value();
  } catch (error) {
    throw new DamagedStore(`${name}: no JSON as the format has it: ${error.message}`);
  }
}

const isText = (value) => typeof value === "string";
const isPositive = (value) => Number.isSafeInteger(value) && value > 0;
const isInt = (value) => value === 0 || isPositive(value);
const numberOf = (value) => (value instanceof Number ? value.valueOf() : value);
const isNumber = (value) => typeof numberOf(value) === "number";
const isTemperature = (value) => isNumber(value) && numberOf(value) >= 0.001 && numberOf(value) <= 1000;
const isList = (test) => (value) => Array.isArray(value) && value.every(test);
const isMap = (value) => value instanceof Map;
/** What lies at keys, one inside the other; undefined where one is missing. */
const at = (value, ...keys) => keys.reduce((found, key) => (isMap(found) ? found.get(key) : found?.[key]), value);

/** Section 10: call `use` with a regular file below the store, opened without following links. */
function withFile(root, name, use) {
  const parts = name.split("/");
  let file;
  try {
    for (let n = 1; n < parts.length; n++) {
      const above = fs.lstatSync(path.join(root, ...parts.slice(0, n)));
      check(above.isDirectory(), name, "a part of its path is no directory");
    }
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
    file = fs.openSync(path.join(root, ...parts), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    check(fs.fstatSync(file).isFile(), name, "it is no regular file");
    return use(file, fs.fstatSync(file).size);
  } catch (error) {
    check(error.code !== "ENOENT", name, "it is missing");
    check(error.code !== "ELOOP", name, "it is a link");
    throw error;
  } finally {
    if (file !== undefined) fs.closeSync(file);
  }
}

function readBytes(file, start, length, name) {
  const bytes = Buffer.alloc(length);
  check(fs.readSync(file, bytes, 0, length, start) === length, name, "it ends too early");
  return bytes;
}

function readWhole(root, name) {
  return withFile(root, name, (file, size) => {
    check(size <= 2 ** 28, name, `it has ${size} bytes, more than may be read`);
    return readBytes(file, 0, size, name);
  });
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const CRC_OF_BYTE = Uint32Array.from({ length: 256 }, (_, crc) => {
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function crc32c(bytes) {
  let crc = 0xffffffff;
  for (let n = 0; n < bytes.length; n++) crc = CRC_OF_BYTE[(crc ^ bytes[n]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** The content size that a zstd frame states (RFC 8878, 3.1.1.1), or NaN. */
function zstdSize(bytes) {
  if (bytes.length < 5 || bytes.readUInt32LE(0) !== 0xfd2fb528) return NaN;
  const isSingle = (bytes[4] >> 5) & 1;
  const start = 6 - isSingle + [0, 1, 2, 4][bytes[4] & 3];
  const width = [isSingle, 2, 4, 8][bytes[4] >> 6];
  if (width === 0 || bytes.length < start + width) return NaN;
  if (width === 8) return Number(bytes.readBigUInt64LE(start));
  return bytes.readUIntLE(start, width) + (width === 2 ? 256 : 0);
}

const bloscSize = (bytes) =>
  bytes.length > 15 && bytes.readUInt32LE(12) === bytes.length ? bytes.readUInt32LE(4) : NaN;

/** Compare the crc32c at the end of a chunk, then decompress it to `length` values. */
async function decodeChunk(bytes, { codec, type, length, name, crc }) {
  const size = length * TYPES[type].BYTES_PER_ELEMENT;
  const packed = bytes.subarray(0, -4);
  check(bytes.length > 4 && packed.length <= size + size / 128 + 1024, name, "a wrong size");
  const found = bytes.readUInt32LE(packed.length);
  check(crc32c(packed) === found, name, "its crc32c is wrong");
  check(crc === undefined || crc === found, name, "its crc32c is not that of the manifest");
  const stated = codec === "zstd" ? zstdSize(packed) : bloscSize(packed);
  check(stated === size, name, `its ${codec} header does not state ${size} bytes`);
  const plain = await DECOMPRESS[codec].decode(packed).catch((error) => {
    throw new DamagedStore(`${name}: ${codec} cannot decompress it (${error?.message ?? error})`);
  });
  check(plain.length === size, name, `it has ${plain.length} bytes, not ${size}`);
  return new TYPES[type](plain.buffer, plain.byteOffset, length);
}

const isPruning = (value) => {
  const bounds = [at(value, "mass"), at(value, "min_prob")];
  const areBounds = bounds.every((bound) => bound === null || (numberOf(bound) > 0 && numberOf(bound) < 1));
  return isMap(value) && value.size === 2 && areBounds && bounds.some((bound) => bound !== null);
};
const ATTRIBUTES = [
  [isText, "split corpus_fingerprint class_inventory combine program_version"],
  [isInt, "num_utterances num_frames"],
  [isPositive, "num_shards num_classes kept shard_frames chunk_frames subsampling"],
  [(value) => numberOf(value) >= 0 && isNumber(value), "frame_shift_ms"],
  [isTemperature, "temperature"],
  [isList((value) => isTemperature(value) && numberOf(value) !== 1), "temperatures"],
  [isList(isNumber), "weights"],
  [isList(isText), "members left_out"],
  [isList(isList(isInt)), "tiers"],
  [(value) => value === "sqrt-neglog-16", "value_code"],
  [(value) => value === null || isPruning(value), "pruning"],
];

function checkVersion(metadata, name) {
  const version = at(metadata, "format_version");
  const isKnown = at(metadata, "format") === "essence soft labels" && isPositive(version);
  check(isKnown, name, "it states no format or version of soft labels");
  if (version > 2) throw new UnsupportedStore(`${name}: format ${version}, which is newer than 2`);
}

/** [[1, 1], [2, 4], [5, 8], [9, 16], ...] up to K. */
function tiersOf(kept) {
  const tiers = [];
  for (let last = 0, end = 1; last < kept; last = end, end = Math.max(4, 2 * end))
    tiers.push([last + 1, Math.min(end, kept)]);
  return tiers;
}

function checkAttributes(about, name) {
  checkVersion(about, name);
  for (const [test, keys] of ATTRIBUTES)
    for (const key of keys.split(" "))
      check(about.has(key) && test(about.get(key)), name, `${key} is missing or has no such value`);
  const [C, K, S, F] = ["num_classes", "kept", "shard_frames", "chunk_frames"].map((key) => about.get(key));
  const isPossible = K <= C && S % F === 0 && S / F <= 2 ** 20 && 4 * K * F <= 2 ** 28;
  check(isPossible && about.get("num_utterances") <= 2 ** 28, name, "sizes outside their bounds");
  check(`${about.get("tiers")}` === `${tiersOf(K)}`, name, `its tiers are not those of ${K} ranks`);
  check(about.get("weights").length === about.get("members").length, name, "not one weight for each member");
  check(!about.get("pruning") || about.get("format_version") > 1, name, "pruning, which format 1 has not");
}

/** `zstd` or `blosc`, as an array of format 2 declares it (section 4). */
function declaredCodec(metadata, name) {
  const inner = at(metadata, "codecs", 0, "configuration", "codecs");
  const names = [0, 1, 2].map((n) => at(inner, n, "name"));
  const option = (key) => at(inner, 1, "configuration", key);
  const within = (key, low, high) => isInt(option(key)) && option(key) >= low && option(key) <= high;
  const isZstd = names[1] === "zstd" && within("level", 1, 22) && option("checksum") === false;
  const isBlosc = names[1] === "blosc" && within("clevel", 1, 9) && within("blocksize", 0, 2 ** 24);
  const isKnown = ["lz4", "zstd"].includes(option("cname"));
  const isShuffle = ["noshuffle", "shuffle", "bitshuffle"].includes(option("shuffle"));
  const isChain = inner?.length === 3 && names[0] === "bytes" && names[2] === "crc32c";
  if (isChain && (isZstd || (isBlosc && isKnown && isShuffle))) return names[1];
  throw new UnsupportedStore(`${name}: its codecs are not those of format 2`);
}

/** Frame arrays: name -> type, and the values of a row where there is a second dimension. */
function frameArrays(about) {
  const arrays = new Map();
  const K = about.get("kept");
  const type = about.get("num_classes") <= 65534 ? "uint16" : "uint32";
  if (about.get("pruning")) arrays.set("count", { type: K <= 255 ? "uint8" : "uint16" });
  tiersOf(K).forEach(([first, last], tier) => {
    arrays.set(`ids_${tier}`, { type, width: last - first + 1 });
    arrays.set(`val_${tier}`, { type: "uint8", width: last - first + 1 });
    arrays.set(`tail_${tier}`, { type: "uint8" });
  });
  return arrays;
}

/** Open a sealed store: read HEAD, the manifest and all metadata, and check them. */
export async function openStore(root) {
  if (!fs.existsSync(path.join(root, "HEAD"))) {
    if (!["zarr.json", "_stage"].some((name) => fs.existsSync(path.join(root, name))))
      throw new StoreError(`${root}: there is no store`);
    throw new UnderConstruction(`${root}: it has no HEAD, so it is under construction`);
  }
  const head = readWhole(root, "HEAD").toString("latin1");
  const identity = head.slice(0, 64);
  check(SHA256.test(identity) && head === `${identity}\n`, "HEAD", "it is no sha256 with a line feed");
  const name = `manifest-${identity}.json`;
  const bytes = readWhole(root, name);
  check(sha256(bytes) === identity, name, "its sha256 is not that of its name");
  const manifest = parseJson(bytes, name);
  checkVersion(manifest, name);
  const store = new SoftLabelStore(root, identity, at(manifest, "objects"));
  check(isMap(store.objects), name, "it has no objects");
  for (const [object, entry] of store.objects) {
    const isEntry = NAME.test(object) && isInt(at(entry, "bytes")) && SHA256.test(at(entry, "sha256"));
    check(isEntry, name, `a wrong entry ${JSON.stringify(object)}`);
  }
  await store.readMetadata(at(manifest, "format_version"));
  return store;
}

class SoftLabelStore {
  constructor(root, identity, objects) {
    Object.assign(this, { root, identity, objects, lastChunks: new Map() });
  }

  /** The bytes of a metadata object, which are those that the manifest lists. */
  metadata(name) {
    const [entry, bytes] = [this.objects.get(name), readWhole(this.root, name)];
    const isListed = bytes.length === at(entry, "bytes") && sha256(bytes) === at(entry, "sha256");
    check(isListed, name, "its size or sha256 is not that of the manifest, or it is not listed there");
    return bytes;
  }

  async readMetadata(version) {
    this.about = at(parseJson(this.metadata("zarr.json"), "zarr.json"), "attributes");
    checkAttributes(this.about, "zarr.json");
    check(this.about.get("format_version") === version, "zarr.json", "its version is not the manifest's");
    this.arrays = frameArrays(this.about);
    for (const [array, found] of this.arrays) {
      const metadata = parseJson(this.metadata(`${array}/zarr.json`), `${array}/zarr.json`);
      if (version === 1) found.codec = ["ids_0", "val_0"].includes(array) ? "zstd" : "blosc";
      else found.codec = declaredCodec(metadata, `${array}/zarr.json`);
    }
    if (fs.existsSync(path.join(this.root, "part.json"))) {
      this.part = parseJson(readWhole(this.root, "part.json"), "part.json");
      check(at(this.part, "manifest") === this.identity, "part.json", "it is of another store");
    }
    this.utterances = await this.readTable();
  }

  column(column, type, length) {
    const name = `utterances/${column}/c/0`;
    if (length === 0) return new TYPES[type](0);
    return decodeChunk(this.metadata(name), { codec: "blosc", type, length, name });
  }

  /** id -> { shard, offset, length } (section 6). */
  async readTable() {
    const [U, S] = [this.about.get("num_utterances"), this.about.get("shard_frames")];
    const ends = Array.from(await this.column("id_offsets", "uint64", U + 1), Number);
    const rise = ends.every((end, u) => (u === 0 ? end === 0 : end >= ends[u - 1]));
    check(rise && ends[U] <= 2 ** 31, "utterances/id_offsets", "they fall, or are too large");
    const idBytes = await this.column("id_bytes", "uint8", ends[U]);
    const shards = await this.column("shard", "uint32", U);
    const offsets = await this.column("offset", "uint64", U);
    const lengths = await this.column("length", "uint64", U);
    const table = new Map();
    let [shard, next, frames] = [0, 0, 0];
    for (let u = 0; u < U; u++) {
      const bytes = idBytes.subarray(ends[u], ends[u + 1]);
      check(isUtf8(bytes), "utterances/id_bytes", `the id of utterance ${u} is not UTF-8`);
      const id = decodeText(bytes);
      const [offset, length] = [offsets[u], lengths[u]].map(Number);
      check(!table.has(id) && !id.includes("\0"), "utterances/id_bytes", `${id} twice, or with NUL`);
      if (shards[u] > shard) [shard, next] = [shards[u], 0];
      const isNext = shards[u] === shard && offset === next && offset + length <= S;
      check(isNext, "utterances", `${id} does not follow the utterance before it`);
      table.set(id, { shard, offset, length });
      [next, frames] = [next + length, frames + length];
    }
    check(this.about.get("num_shards") === shard + 1, "utterances", "another number of shards than stated");
    check(this.about.get("num_frames") === frames, "utterances", "another number of frames than stated");
    return table;
  }

  /** One inner chunk of a shard object, as values (sections 4 and 9). */
  async chunk(array, shard, number) {
    const last = this.lastChunks.get(array);
    if (last?.shard === shard && last.number === number) return last.values;
    const { type, codec, width } = this.arrays.get(array);
    const [S, F] = ["shard_frames", "chunk_frames"].map((name) => this.about.get(name));
    const object = `${array}/c/${shard}${width ? "/0" : ""}`;
    const name = `${object}, chunk ${number}`;
    const entry = this.objects.get(object);
    const crc = at(entry, "chunks", number);
    check(at(entry, "chunks", "length") === S / F && isInt(crc), name, "the manifest has no crc32c of it");
    const isPromised = at(this.part, "arrays", array)?.some(([first, end]) => first <= shard && shard <= end);
    if (this.part && !isPromised && !fs.existsSync(path.join(this.root, object)))
      throw new PartialCopy(`${object}: this copy is partial and leaves it out`);
    const bytes = withFile(this.root, object, (file, size) => {
      const start = size - 16 * (S / F) - 4;
      check(size === at(entry, "bytes") && start >= 0, object, `it has ${size} bytes, the manifest has others`);
      const index = readBytes(file, start, size - start, object);
      const crcOfIndex = index.readUInt32LE(index.length - 4);
      check(crc32c(index.subarray(0, -4)) === crcOfIndex, object, "the crc32c of its index is wrong");
      const [offset, length] = [0, 8].map((n) => Number(index.readBigUInt64LE(16 * number + n)));
      check(offset + length <= start && length < 2 ** 29, name, "it lies outside its object, or is absent");
      return readBytes(file, offset, length, name);
    });
    const values = await decodeChunk(bytes, { codec, type, length: F * (width ?? 1), name, crc });
    this.lastChunks.set(array, { shard, number, values });
    return values;
  }

  /** The rows of an utterance, one after the other. */
  async rows(array, { shard, offset, length }) {
    const { type, width = 1 } = this.arrays.get(array);
    const F = this.about.get("chunk_frames");
    const found = new TYPES[type](length * width);
    for (let row = 0, count; row < length; row += count) {
      const first = (offset + row) % F;
      count = Math.min(F - first, length - row);
      const values = await this.chunk(array, shard, Math.floor((offset + row) / F));
      found.set(values.subarray(first * width, (first + count) * width), row * width);
    }
    return found;
  }

  /** Section 5: the min(k, count) best classes of each frame, their probabilities, that of all others. */
  async read(id, { k = this.about.get("kept") } = {}) {
    const [place, C, K] = [this.utterances.get(id), this.about.get("num_classes"), this.about.get("kept")];
    if (!place) throw new RangeError(`the store has no utterance ${id}`);
    if (!isPositive(k) || k > K) throw new RangeError(`the store has 1 to ${K} ranks, not ${k}`);
    const numFrames = place.length;
    const counts = this.arrays.has("count") ? await this.rows("count", place) : new Uint16Array(numFrames).fill(K);
    check(counts.every((count) => count > 0 && count <= K), "count", `${id}: a frame has not 1 to ${K} ranks`);
    const [ids, probs] = [new Uint32Array(numFrames * k), new Float32Array(numFrames * k)];
    const [codes, tails] = [new Uint8Array(numFrames), new Float64Array(numFrames)];
    for (const [tier, [first, last]] of tiersOf(K).entries()) {
      if (first > k) break;
      const [classes, steps] = [await this.rows(`ids_${tier}`, place), await this.rows(`val_${tier}`, place)];
      const fill = classes instanceof Uint16Array ? 0xffff : 0xffffffff;
      const ends = last >= k ? await this.rows(`tail_${tier}`, place) : [];
      for (let frame = 0, n = 0; frame < numFrames; frame++) {
        const count = counts[frame];
        for (let rank = first; rank <= last; rank++, n++) {
          const code = (codes[frame] + steps[n]) & 255;
          const isClass = classes[n] < C && code >= codes[frame];
          const isSound = rank <= count ? isClass : classes[n] === fill && steps[n] === 0;
          check(isSound, `tier ${tier}`, `${id}, frame ${frame}, rank ${rank}: no class, or a code that falls`);
          if (rank > count) continue;
          codes[frame] = code;
          if (rank > k) tails[frame] += PROB_OF_CODE[code];
          else [ids[frame * k + rank - 1], probs[frame * k + rank - 1]] = [classes[n], PROB_OF_CODE[code]];
        }
        if (last >= k && Math.min(count, last) < C) tails[frame] += PROB_OF_CODE[ends[frame]];
      }
    }
    const most = (limit) => (value) => Math.min(limit, value);
    return { numFrames, counts: counts.map(most(k)), ids, probs, tails: Float32Array.from(tails, most(1)) };
  }
}
