// CBOR (RFC 8949) as nodes that keep what a verifier must see: doubled keys, tags, types, and where an
// item ends. The bytes are read by cborg's tokenizer; the structure is made here, because no decoder
// that makes objects can show a key that was there twice.
//
// A node is {kind, value}: uint (number or bigint), negint, bytes, text (one character a byte: no
// meaning is given to bytes that are not ASCII), array (nodes), map (pairs of nodes), tag ({number,
// item}), null, other.

import { Tokenizer, Type } from 'cborg';

const MAX_DEPTH = 16;
const OPTIONS = { retainStringBytes: true, allowBigInt: true, allowIndefinite: true };

function binary(bytes) {
	let text = '';
	for (const byte of bytes)
		text += String.fromCharCode(byte);
	return text;
}

function isBreak(token) {
	return Type.equals(token.type, Type.break);
}

function items(tokens, count, depth, width) {
	const found = [];
	for (let i = 0; i < count * width; i++) {
		const token = tokens.next();
		if (isBreak(token)) {
			if (count !== Infinity || i % width !== 0)
				throw new Error('a break where none may be');
			return found;
		}
		found.push(node(tokens, token, depth + 1));
	}
	return found;
}

function pairs(flat) {
	const found = [];
	for (let i = 0; i < flat.length; i += 2)
		found.push([flat[i], flat[i + 1]]);
	return found;
}

function node(tokens, token, depth) {
	if (isBreak(token))
		throw new Error('a break where none may be');
	if (depth > MAX_DEPTH && ['array', 'map', 'tag'].includes(token.type.name))
		throw new Error('nested too deep');
	switch (token.type.name) {
	case 'uint':
	case 'negint':
		return { kind: token.type.name, value: token.value };
	case 'bytes':
		return { kind: 'bytes', value: new Uint8Array(token.value) };
	case 'string':
		return { kind: 'text', value: binary(token.byteValue ?? []) };
	case 'array':
		return { kind: 'array', value: items(tokens, token.value, depth, 1) };
	case 'map':
		return { kind: 'map', value: pairs(items(tokens, token.value, depth, 2)) };
	case 'tag':
		return { kind: 'tag', value: { number: token.value, item: node(tokens, tokens.next(), depth + 1) } };
	case 'null':
		return { kind: 'null', value: null };
	default:
		return { kind: 'other', value: null };
	}
}

// The one item that the bytes are. Throws an Error if they are not exactly one well-formed item.
export function decode(bytes) {
	const tokens = new Tokenizer(bytes, OPTIONS);
	const item = node(tokens, tokens.next(), 1);
	if (!tokens.done())
		throw new Error('something follows it');
	return item;
}
