// Steps "decode", "fields" and "signature": an attestation document's shape and its COSE signature
// (RFC 9052). Written from attest/verdict/VERDICT.md, "Decoding" and "Fields".

import { decode } from './cbor.js';
import { concat, utf8 } from './bytes.js';

const MAX_DOCUMENT = 20480;
const MAX_PROTECTED = 256;
const MAX_PAYLOAD = 16384;
const MAX_KEYS = 32;
const SIGNATURE = 96;
const TAG_SIGN1 = 18;
const ES384 = -35;

function demand(condition, detail) {
	if (!condition)
		throw new Error(detail);
}

function isBytes(node, least, most) {
	return node !== undefined && node.kind === 'bytes' && node.value.length >= least &&
		node.value.length <= most;
}

function checkProtected(bytes) {
	const header = decode(bytes);
	demand(header.kind === 'map', 'its protected header is not a map');
	const labels = header.value.filter(([key]) => key.kind === 'uint' && BigInt(key.value) === 1n);
	const critical = header.value.some(([key]) => key.kind === 'uint' && BigInt(key.value) === 2n);
	demand(labels.length === 1 && labels[0][1].kind === 'negint' &&
		BigInt(labels[0][1].value) === BigInt(ES384), 'its algorithm is not ES384');
	demand(!critical, 'it has critical headers');
}

function payloadMembers(bytes) {
	const payload = decode(bytes);
	demand(payload.kind === 'map', 'its payload is not a map');
	demand(payload.value.length <= MAX_KEYS, 'its payload has too many keys');
	const members = new Map();
	for (const [key, value] of payload.value) {
		demand(key.kind === 'text', 'a key of its payload is not text');
		demand(!members.has(key.value), 'a key of its payload is there twice');
		members.set(key.value, value);
	}
	return members;
}

// {protected, payload, signature, members} of a document. Throws an Error with a detail.
export function decodeDocument(bytes) {
	demand(bytes.length > 0, 'it is empty');
	demand(bytes.length <= MAX_DOCUMENT, `it is longer than ${MAX_DOCUMENT} bytes`);
	let item = decode(bytes);
	if (item.kind === 'tag' && item.value.number === TAG_SIGN1)
		item = item.value.item;
	demand(item.kind === 'array' && item.value.length === 4, 'it is not a COSE_Sign1');
	const [header, unprotectedHeader, payload, signature] = item.value;
	demand(isBytes(header, 1, MAX_PROTECTED), 'its protected header is not one');
	demand(unprotectedHeader.kind === 'map', 'its unprotected header is not a map');
	demand(isBytes(payload, 1, MAX_PAYLOAD), 'its payload is not a byte string of a permitted length');
	demand(isBytes(signature, SIGNATURE, SIGNATURE), 'its signature has not 96 bytes');
	checkProtected(header.value);
	return {
		protected: header.value, payload: payload.value, signature: signature.value,
		members: payloadMembers(payload.value),
	};
}

// ---------------------------------------------------------------- fields

const OPTIONAL = { public_key: 1, user_data: 0, nonce: 0 };
const PCR_LIMITS = { pcrs: 32, nitrotpm_pcrs: 24 };
const MAX_FIELD = 1024;

function pcrValues(node, limit) {
	if (node.kind !== 'map' || node.value.length < 1 || node.value.length > 32)
		return null;
	const values = new Map();
	for (const [index, value] of node.value) {
		if (index.kind !== 'uint' || index.value >= limit || !isBytes(value, 48, 48))
			return null;
		if (values.has(Number(index.value)))
			return null;
		values.set(Number(index.value), value.value);
	}
	return values;
}

// The fields of a decoded document, or {broken: FIELD} with the first that breaks its rule.
export function readFields(members) {
	const moduleId = members.get('module_id');
	if (moduleId?.kind !== 'text' || !/^[!-~]{1,255}$/.test(moduleId.value))
		return { broken: 'module_id' };
	const digest = members.get('digest');
	if (digest?.kind !== 'text' || digest.value !== 'SHA384')
		return { broken: 'digest' };
	const timestamp = members.get('timestamp');
	if (timestamp?.kind !== 'uint' || !Number.isSafeInteger(timestamp.value) || timestamp.value === 0)
		return { broken: 'timestamp' };
	const kinds = Object.keys(PCR_LIMITS).filter((name) => members.has(name));
	if (kinds.length !== 1)
		return { broken: 'pcrs' };
	const pcrs = pcrValues(members.get(kinds[0]), PCR_LIMITS[kinds[0]]);
	if (pcrs === null)
		return { broken: kinds[0] };
	if (!isBytes(members.get('certificate'), 1, MAX_FIELD))
		return { broken: 'certificate' };
	const bundle = members.get('cabundle');
	if (bundle?.kind !== 'array' || bundle.value.length < 1 || bundle.value.length > 8 ||
		!bundle.value.every((entry) => isBytes(entry, 1, MAX_FIELD)))
		return { broken: 'cabundle' };
	const optional = {};
	for (const [name, least] of Object.entries(OPTIONAL)) {
		const node = members.get(name);
		if (node !== undefined && node.kind !== 'null' && !isBytes(node, least, MAX_FIELD))
			return { broken: name };
		optional[name] = node?.kind === 'bytes' ? node.value : null;
	}
	return {
		moduleId: moduleId.value, timestamp: timestamp.value, enclave: kinds[0] === 'pcrs', pcrs,
		certificate: members.get('certificate').value,
		cabundle: bundle.value.map((entry) => entry.value),
		publicKey: optional.public_key, userData: optional.user_data, nonce: optional.nonce,
	};
}

// ---------------------------------------------------------------- signature

function byteString(bytes) {
	const length = bytes.length;
	const head = length < 24 ? [0x40 + length] : length < 256 ? [0x58, length]
		: [0x59, length >> 8, length & 255];
	return concat(new Uint8Array(head), bytes);
}

function sigStructure(document) {
	const context = utf8('Signature1');
	return concat(new Uint8Array([0x84, 0x60 + context.length]), context,
		byteString(document.protected), new Uint8Array([0x40]), byteString(document.payload));
}

// key: the leaf's CryptoKey.
export async function signatureVerifies(document, key) {
	return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-384' }, key, document.signature,
		sigStructure(document));
}
