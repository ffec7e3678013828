// Which bytes an event is: attest/PCRS.md, "What is extended, and when" and "Start event".

import { concat, digest, fromHex, toHex, utf8 } from './bytes.js';

export const MODES = ['verity', 'declared', 'set', 'sha384', 'sha256'];
// Which digests of a model each mode puts into the SHA-384 bank.
export const MEASURES = {
	verity: ['verity'], declared: ['sha256', 'sha384'], set: ['set'], sha384: ['sha384'], sha256: ['sha256'],
};
export const DIGEST_BYTES = { sha256: 32, sha384: 48, verity: 32, set: 32 };
const MAX_START = 16384;

export function hasStart(mode) {
	return mode === 'verity' || mode === 'declared' || mode === 'set';
}

// What a TPM does: SHA-384(old ‖ value).
export async function extend(old, value) {
	return digest('SHA-384', concat(old, value));
}

// What mode extends for a model with these digests ({verity: bytes, …}), or null if one is missing.
export async function modelEvent(mode, digests) {
	if (MEASURES[mode].some((kind) => digests[kind] === undefined))
		return null;
	const hex = (kind) => toHex(digests[kind]);
	switch (mode) {
	case 'sha384':
		return digests.sha384;
	case 'verity':
		return digest('SHA-384', utf8(`sealedfs:verity:sha256:${hex('verity')}`));
	case 'set':
		return digest('SHA-384', utf8(`sealedfs:set:sha256:${hex('set')}`));
	case 'declared':
		return digest('SHA-384', utf8(`sealedfs:declared:sha256:${hex('sha256')},sha384:${hex('sha384')}`));
	default:
		return digest('SHA-384', utf8(`sealedfs:sha256:${hex('sha256')}`));
	}
}

function escaped(item) {
	let text = '';
	for (const byte of utf8(item)) {
		const sign = String.fromCharCode(byte);
		text += /[A-Za-z0-9:/._-]/.test(sign) ? sign : '%' + byte.toString(16).padStart(2, '0');
	}
	return text;
}

// The start event's text. owners: ids in hex; kms: pins.
export function startText(mode, attest, owners, kms) {
	const list = (items) => [...new Set(items.map(escaped))].sort().join('+');
	const shown = mode === 'set' ? 'on' : 'off';
	return `sealedfs:start:measure=${mode},set=${shown},attest=${escaped(attest)},owners=${list(owners)},kms=${list(kms)}`;
}

const ID = '[0-9a-f]{64}';
const ITEM = '(?:[a-zA-Z0-9:/._-]|%[0-9a-f]{2})+';
const list = (item) => `((?:${item}(?:\\+${item})*)?)`;
const START = new RegExp('^sealedfs:start:measure=(verity(?=,set=off)|declared(?=,set=off)|set(?=,set=on)),set=(?:on|off),' +
	`attest=${ITEM},owners=${list(ID)},kms=${list(ITEM)}$`);

// {mode, owners} of a start event's text, or null if it has not that form.
export function parseStart(text) {
	const found = typeof text === 'string' && text.length <= MAX_START ? START.exec(text) : null;
	return found === null ? null
		: { mode: found[1], owners: found[2] === '' ? [] : found[2].split('+') };
}

// The digest of this many bytes in lower-case hex, or null.
export function readDigest(text, bytes) {
	return typeof text === 'string' && text.length === 2 * bytes && !/[A-F]/.test(text) ? fromHex(text) : null;
}
