// The head of a set: header and signature block, and its member table. Written from crypto/FORMAT.md,
// sections 3.3, 6 and 11. Nothing is decrypted here.

import { concat, digest, equal, fromUtf8, isZero, utf8 } from './bytes.js';
import { factsAreGood, HEAD, pathIsGood } from './seal.js';

const HEADER = 0x800, ENTRY = 232; // behind the path
const MAX_MEMBERS = 65536, MAX_TABLE = 64 << 20;
const MAX_TIME = 253402300799n, MAX_LENGTH = 1n << 44n;
const TABLE_ALIGN = 4096;

function viewOf(bytes) {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function numbersAreGood(view) {
	const version = view.getBigUint64(0x30, true), created = view.getBigUint64(0x38, true);
	const expires = view.getBigUint64(0x40, true), count = view.getUint32(0x48, true);
	const size = view.getUint32(0x4c, true);
	return view.getUint16(8, true) === 1 && view.getUint16(10, true) === 1 && view.getUint32(12, true) === 0 &&
		version >= 1n && version < 1n << 63n && created <= MAX_TIME && expires <= MAX_TIME &&
		(expires === 0n || expires > created) && count >= 1 && count <= MAX_MEMBERS &&
		size >= (ENTRY + 3) * count && size <= MAX_TABLE;
}

function compareBytes(one, other) {
	for (let i = 0; i < Math.min(one.length, other.length); i++) {
		if (one[i] !== other[i])
			return one[i] - other[i];
	}
	return one.length - other.length;
}

// Members by path, or null.
function readTable(table, count) {
	const view = viewOf(table), members = new Map();
	let at = 0, last = null;
	for (let i = 0; i < count; i++) {
		const size = at + 2 <= table.length ? view.getUint16(at, true) : 0;
		if (size < 1 || size > 1024 || at + 2 + size + ENTRY > table.length)
			return null;
		const raw = table.subarray(at + 2, at + 2 + size), path = fromUtf8(raw), from = at + 2 + size;
		const part = (offset, length) => table.slice(from + offset, from + offset + length);
		const length = view.getBigUint64(from + 80, true);
		if (!pathIsGood(path) || length > MAX_LENGTH || (last !== null && compareBytes(last, raw) >= 0))
			return null;
		members.set(path, { raw, path, length: Number(length), sha256: part(88, 32), sha384: part(120, 48),
			verity: part(168, 32), description: part(200, 32) });
		last = raw;
		at = from + ENTRY;
	}
	return at === table.length ? members : null;
}

function fitsTogether(members) {
	for (const { path, description } of members.values()) {
		const parts = path.split('/');
		if (parts.some((_, i) => i > 0 && members.has(parts.slice(0, i).join('/'))))
			return false;
		const described = members.get(`${path}.ollama`);
		if (!(described ? equal(description, described.sha256) : isZero(description)))
			return false;
	}
	return true;
}

function little(value, size) {
	const bytes = new Uint8Array(size), view = viewOf(bytes);
	if (size === 2)
		view.setUint16(0, value, true);
	else
		view.setBigUint64(0, BigInt(value), true);
	return bytes;
}

async function contentOf(members) {
	const parts = [utf8('sealedfs set content v1\0'), little(members.size, 8)];
	for (const member of members.values())
		parts.push(little(member.raw.length, 2), member.raw, little(member.length, 8), member.verity, member.description);
	return digest('SHA-256', await new Blob(parts).arrayBuffer()); // too many for concat()
}

function readHead(bytes) {
	if (bytes.length < HEAD || !equal(bytes.subarray(0, 8), utf8('sealdset')))
		return null;
	const view = viewOf(bytes);
	const nameLength = view.getUint16(0xb0, true), factsLength = view.getUint16(0xb2, true);
	const algorithm = view.getUint16(HEADER, true);
	const zero = (from, to) => isZero(bytes.subarray(from, to));
	if (!numbersAreGood(view) || nameLength < 1 || nameLength > 255 || factsLength > 640 || algorithm > 1 ||
		!zero(0xb4, 0xc0) || !zero(0xc0 + nameLength, 0x1c0) || !zero(0x1c0 + factsLength, 0x440) ||
		!zero(0x440, HEADER) || !zero(0x862, HEAD) || (algorithm === 0 && !zero(0x802, 0x862)))
		return null;
	const name = fromUtf8(bytes.subarray(0xc0, 0xc0 + nameLength));
	if (!pathIsGood(name) || name.includes('/') || !factsAreGood(fromUtf8(bytes.subarray(0x1c0, 0x1c0 + factsLength))))
		return null;
	return {
		name, version: view.getBigUint64(0x30, true), count: view.getUint32(0x48, true), size: view.getUint32(0x4c, true),
		hash: bytes.slice(0x50, 0x70), content: bytes.slice(0x70, 0x90), members: null,
		context: 'sealedfs set v1\0', core: bytes.slice(0, HEADER),
		signer: algorithm === 1 ? bytes.slice(0x802, 0x822) : null, signature: bytes.slice(0x822, 0x862),
	};
}

// {name, version, content, members (Map by path; null without a table), core, …} of header and
// signature block, with or without the table behind them; null if they break the format.
export async function readSet(bytes) {
	const set = readHead(bytes);
	if (set === null || bytes.length === HEAD)
		return set;
	const table = bytes.subarray(HEAD);
	if (table.length !== set.size || !equal(await digest('SHA-256', table), set.hash))
		return null;
	set.members = readTable(table, set.count);
	return set.members !== null && fitsTogether(set.members) && equal(await contentOf(set.members), set.content)
		? set : null;
}

// The same of a whole object, sealed.set.
export async function readSetObject(bytes) {
	const set = readHead(bytes);
	if (set === null || bytes.length < HEAD + 2)
		return null;
	const slots = viewOf(bytes).getUint16(HEAD, true);
	const at = Math.ceil((0x8c0 + 1024 * slots) / TABLE_ALIGN) * TABLE_ALIGN;
	return at + set.size === bytes.length ? readSet(concat(bytes.subarray(0, HEAD), bytes.subarray(at))) : null;
}
