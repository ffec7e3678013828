// Bytes, text and hashes: what every other part needs. Nothing here judges anything.

const HEX = /^(?:[0-9a-fA-F]{2})*$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export function toHex(bytes) {
	let text = '';
	for (const byte of bytes)
		text += byte.toString(16).padStart(2, '0');
	return text;
}

// The bytes, or null if the text is not hex. Both cases of letters are read.
export function fromHex(text) {
	if (typeof text !== 'string' || !HEX.test(text))
		return null;
	const bytes = new Uint8Array(text.length / 2);
	for (let i = 0; i < bytes.length; i++)
		bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
	return bytes;
}

// The bytes, or null if the text is not padded base64 of the standard alphabet.
export function fromBase64(text) {
	if (typeof text !== 'string' || text.length % 4 !== 0 || !BASE64.test(text))
		return null;
	const raw = atob(text);
	const bytes = new Uint8Array(raw.length);
	for (let i = 0; i < raw.length; i++)
		bytes[i] = raw.charCodeAt(i);
	return bytes;
}

export function equal(one, other) {
	return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

export function concat(...parts) {
	const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		all.set(part, at);
		at += part.length;
	}
	return all;
}

export function utf8(text) {
	return new TextEncoder().encode(text);
}

// The text, or null if the bytes are not well-formed UTF-8.
export function fromUtf8(bytes) {
	try {
		return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
	} catch {
		return null;
	}
}

export function isZero(bytes) {
	return bytes.every((byte) => byte === 0);
}

// algorithm: 'SHA-256' or 'SHA-384'.
export async function digest(algorithm, bytes) {
	return new Uint8Array(await crypto.subtle.digest(algorithm, bytes));
}
