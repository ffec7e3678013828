// The head of a seal: core and signature block. Written from crypto/FORMAT.md, sections 1, 3.1 to 3.3
// and 6. Nothing is decrypted here.

import { verifyAsync } from '@noble/ed25519';
import { concat, digest, equal, fromUtf8, isZero, utf8 } from './bytes.js';

export const HEAD = 0x880;
const CORE = 0x800;
const CHUNK = 524288n;
const MAX_LENGTH = 1n << 44n;
const MAX_TIME = 253402300799n;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

export function pathIsGood(text) {
	if (text === null || CONTROL.test(text))
		return false;
	return text.split('/').every((component) => {
		const bytes = utf8(component).length;
		return bytes >= 1 && bytes <= 255 && !['.', '..', '.sealedfs'].includes(component);
	});
}

// Keys hold ASCII only, so that comparing them as text is comparing bytes.
export function factsAreGood(text) {
	if (text === '')
		return true;
	if (text === null || !text.endsWith('\n'))
		return false;
	let last = '';
	return text.slice(0, -1).split('\n').every((line) => {
		const found = /^([a-z0-9._-]{1,48})=(.+)$/s.exec(line);
		if (found === null || CONTROL.test(found[2]) || found[1] <= last)
			return false;
		last = found[1];
		return true;
	});
}

function numbersAreGood(view) {
	const length = view.getBigUint64(0x30, true), count = view.getBigUint64(0x38, true);
	return view.getUint16(8, true) === 2 && view.getUint16(10, true) === 1 &&
		view.getUint32(12, true) === 0 && length <= MAX_LENGTH &&
		count === (length + CHUNK - 1n) / CHUNK && view.getBigUint64(0xf0, true) <= MAX_TIME;
}

// {path, digests, core, signer, signature}, or null if the head breaks the format.
// signer is null where the seal is not signed.
export function readSeal(bytes) {
	if (bytes.length < HEAD || !equal(bytes.subarray(0, 8), utf8('sealedfs')))
		return null;
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	const pathLength = view.getUint16(0xf8, true), factsLength = view.getUint16(0xfa, true);
	const zero = (from, to) => isZero(bytes.subarray(from, to));
	if (!numbersAreGood(view) || pathLength < 1 || pathLength > 1024 || factsLength > 640)
		return null;
	if (!zero(0xfc, 0x100) || !zero(0x100 + pathLength, 0x500) ||
		!zero(0x500 + factsLength, 0x780) || !zero(0x780, CORE) || !zero(0x862, HEAD))
		return null;
	const path = fromUtf8(bytes.subarray(0x100, 0x100 + pathLength));
	const facts = fromUtf8(bytes.subarray(0x500, 0x500 + factsLength));
	const algorithm = view.getUint16(CORE, true);
	if (!pathIsGood(path) || !factsAreGood(facts) || algorithm > 1 ||
		(algorithm === 0 && !zero(0x802, 0x862)))
		return null;
	return {
		path,
		digests: { sha256: bytes.slice(0x40, 0x60), sha384: bytes.slice(0x60, 0x90), verity: bytes.slice(0x90, 0xb0) },
		context: 'sealedfs core v2\0',
		core: bytes.slice(0, CORE),
		signer: algorithm === 1 ? bytes.slice(0x802, 0x822) : null,
		signature: bytes.slice(0x822, 0x862),
	};
}

// True if this owner key ({id, raw}) signed the seal, or set. Strictly as RFC 8032.
export async function signedByKey(seal, key) {
	if (seal.signer === null || !equal(seal.signer, key.id))
		return false;
	const message = concat(utf8(seal.context), await digest('SHA-384', seal.core));
	try {
		return await verifyAsync(seal.signature, message, key.raw, { zip215: false });
	} catch {
		return false;
	}
}

const ED25519_SPKI = new Uint8Array([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]);

// {name, id, raw} of an owner key given as DER SubjectPublicKeyInfo, or null if it is no Ed25519 key.
export async function readOwnerKey(name, der) {
	if (der.length !== ED25519_SPKI.length + 32 || !equal(der.subarray(0, ED25519_SPKI.length), ED25519_SPKI))
		return null;
	return { name, id: await digest('SHA-256', der), raw: der.slice(ED25519_SPKI.length) };
}
