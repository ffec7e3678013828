// What a person states that they expect: digests, PCR values, files of keys and measurements. Every
// function throws an Error whose text is for that person.

import { fromBase64, fromHex, fromUtf8 } from './bytes.js';
import { DIGEST_BYTES } from './events.js';
import { hashFile } from './hash_file.js';
import { HEAD, readOwnerKey, readSeal } from './seal.js';
import { readSetObject } from './set.js';
import { isObject, parseJson } from './strict_json.js';

const MAX_SMALL_FILE = 1 << 20;
const MAX_SET_FILE = (64 << 20) + 20480;
const PCR_BYTES = 48;

async function smallFile(file) {
	if (file.size > MAX_SMALL_FILE)
		throw new Error(`${file.name} is longer than 1 MiB: not a file of this kind.`);
	return new Uint8Array(await file.arrayBuffer());
}

function pem(text, label) {
	const found = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+)-----END ${label}-----`).exec(text ?? '');
	return found === null ? null : fromBase64(found[1].replace(/\s/g, ''));
}

// ---------------------------------------------------------------- models

// sha256:HEX, sha384:HEX, verity:HEX or set:HEX.
export function readModelDigest(text) {
	const [kind, hex, ...rest] = text.trim().split(':');
	if (!Object.hasOwn(DIGEST_BYTES, kind) || rest.length > 0)
		throw new Error('Write sha256:HEX, sha384:HEX, verity:HEX or set:HEX.');
	const value = fromHex(hex);
	if (value === null || value.length !== DIGEST_BYTES[kind])
		throw new Error(`A ${kind} digest has ${2 * DIGEST_BYTES[kind]} hex digits.`);
	return { label: null, digests: { [kind]: value }, seal: null, set: null };
}

async function readSetFile(file) {
	const set = file.size > MAX_SET_FILE ? null : await readSetObject(new Uint8Array(await file.arrayBuffer()));
	if (set === null)
		throw new Error(`${file.name} is not a set that this page can read.`);
	return { label: set.name, digests: { set: set.content }, seal: null, set };
}

// A path in a set.
export function readMember(text) {
	if (text.trim() === '')
		throw new Error('Write the path of a member, as in the set.');
	return text.trim();
}

// A seal or a set by what it states, any other file by its bytes.
export async function readModelFile(file, progress, signal) {
	if (file.name === 'sealed.set')
		return readSetFile(file);
	if (!file.name.endsWith('.seal'))
		return { label: file.name, digests: await hashFile(file, progress, signal), seal: null, set: null };
	const seal = readSeal(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
	if (seal === null)
		throw new Error(`${file.name} is not a seal that this page can read.`);
	return { label: seal.path, digests: seal.digests, seal, set: null };
}

// ---------------------------------------------------------------- owners and root

export async function readKeyFile(file) {
	const der = pem(fromUtf8(await smallFile(file)), 'PUBLIC KEY');
	const key = der === null ? null : await readOwnerKey(file.name.replace(/\.(?:pub|pem)$/, ''), der);
	if (key === null)
		throw new Error(`${file.name} is not the public key of an owner (PEM, Ed25519).`);
	return key;
}

export async function readRootFile(file) {
	const bytes = await smallFile(file);
	const der = pem(fromUtf8(bytes), 'CERTIFICATE') ?? (bytes[0] === 0x30 ? bytes : null);
	if (der === null)
		throw new Error(`${file.name} is not a certificate.`);
	return der;
}

// ---------------------------------------------------------------- boot measurements

function pcrValue(text, name) {
	const value = fromHex(text);
	if (value === null || value.length !== PCR_BYTES)
		throw new Error(`${name} is not a SHA-384 PCR value: 96 hex digits.`);
	return value;
}

// N=HEX.
export function readPcr(text) {
	const found = /^\s*(?:PCR\s*)?(\d{1,2})\s*[=:]\s*([0-9a-fA-F]*)\s*$/i.exec(text);
	if (found === null || Number(found[1]) > 31)
		throw new Error('Write NUMBER=HEX, for example 4=ab12…');
	return [{ index: Number(found[1]), value: pcrValue(found[2], `The value of PCR ${found[1]}`) }];
}

// {"Measurements": {"HashAlgorithm": …, "PCR4": HEX, …}} as nitro-tpm-pcr-compute or the enclave builder prints it.
export async function readMeasurements(file) {
	const text = fromUtf8(await smallFile(file));
	const parsed = text === null ? undefined : parseJson(text);
	const stated = isObject(parsed) ? parsed.Measurements : undefined;
	if (!isObject(stated))
		throw new Error(`${file.name} has no "Measurements", as nitro-tpm-pcr-compute prints them.`);
	if (stated.HashAlgorithm !== undefined && !/^sha-?384\b/i.test(String(stated.HashAlgorithm)))
		throw new Error(`${file.name} has measurements of another hash than SHA-384.`);
	const found = [];
	for (const [name, value] of Object.entries(stated)) {
		const index = /^PCR(\d|[12]\d|3[01])$/.exec(name);
		if (index !== null)
			found.push({ index: Number(index[1]), value: pcrValue(value, `${name} of ${file.name}`) });
	}
	if (found.length === 0)
		throw new Error(`${file.name} names no PCR.`);
	const has = (index) => found.some((entry) => entry.index === index);
	if (has(4) && !has(12)) // older builders: else the kernel's command line would be free
		found.push({ index: 12, value: new Uint8Array(PCR_BYTES) });
	return found;
}

// Map of PCR to acceptable values: what several entries state for one PCR are alternatives.
export function bootValues(entries) {
	const values = new Map();
	for (const { index, value } of entries)
		values.set(index, [...(values.get(index) ?? []), value]);
	return values;
}
