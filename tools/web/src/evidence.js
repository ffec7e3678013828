// Evidence: what an instance answers, or a file of it. Written from attest/verdict/VERDICT.md, "Evidence".

import { fromBase64, fromUtf8, toHex } from './bytes.js';
import { HEAD, readSeal } from './seal.js';
import { readSet } from './set.js';
import { isObject, parseJson } from './strict_json.js';

export const MAX_EVIDENCE = 8 << 20;
const MAX_LOG = 4 << 20;
const MAX_SEALS = 1024;
const MAX_SETS = 64;
const MAX_HEAD = 8192;
const NONCE_BYTES = 32;
const TIMEOUT_MS = 30000;

function demand(condition, what) {
	if (!condition)
		throw new Error(`The evidence is malformed: ${what}.`);
}

function readLog(value, name) {
	if (value === null || value === undefined)
		return new Uint8Array(0);
	const bytes = fromBase64(value);
	demand(bytes !== null && bytes.length <= MAX_LOG, `${name} is not base64 of at most 4 MiB`);
	return bytes;
}

function readSeals(list) {
	demand(Array.isArray(list) && list.length <= MAX_SEALS, 'seals is not a list of at most 1,024');
	return list.map((entry) => {
		const head = isObject(entry) ? fromBase64(entry.head) : null;
		demand(head !== null && head.length <= MAX_HEAD, 'the head of a seal is not base64 of at most 8 KiB');
		const seal = readSeal(head);
		demand(seal !== null, 'a seal breaks the format');
		return seal;
	});
}

async function readSets(list) {
	demand(Array.isArray(list) && list.length <= MAX_SETS, 'sets is not a list of at most 64');
	return Promise.all(list.map(async (entry) => {
		const head = isObject(entry) ? fromBase64(entry.head) : null;
		demand(head !== null && head.length === HEAD, 'the head of a set is not base64 of 2,176 bytes');
		const set = await readSet(head);
		demand(set !== null, 'a set breaks the format');
		return set;
	}));
}

// {document, eventLog, systemdLog, seals, sets, mounts} of evidence as bytes. Throws an Error for people.
export async function readEvidence(bytes) {
	demand(bytes.length <= MAX_EVIDENCE, 'it is longer than 8 MiB');
	const text = fromUtf8(bytes);
	const value = text === null ? undefined : parseJson(text);
	demand(isObject(value), 'it is not a JSON object, or has a member twice');
	demand(value.sealedfs_evidence === 1, 'it does not state sealedfs_evidence 1');
	const document = fromBase64(value.document);
	demand(document !== null, 'document is not base64');
	demand(value.pcr === undefined || (Number.isInteger(value.pcr) && value.pcr >= 0 && value.pcr <= 15),
		'pcr is not a number of 0 to 15');
	return {
		document,
		eventLog: readLog(value.event_log, 'event_log'),
		systemdLog: readLog(value.systemd_log, 'systemd_log'),
		seals: readSeals(value.seals ?? []),
		sets: await readSets(value.sets ?? []),
		mounts: Array.isArray(value.mounts) ? value.mounts : [],
	};
}

// What a file is: evidence, or the document itself, raw or in base64.
export async function readFile(bytes) {
	const first = bytes.find((byte) => ![0x20, 0x09, 0x0a, 0x0d].includes(byte));
	if (first === 0x7b)
		return readEvidence(bytes);
	const text = fromUtf8(bytes);
	const document = (text === null ? null : fromBase64(text.replace(/[ \t\r\n]/g, ''))) ?? bytes;
	return { document, eventLog: null, systemdLog: null, seals: [], sets: [], mounts: [] };
}

// ---------------------------------------------------------------- asking an instance

// The base URL of an address that a person typed. Without a scheme: https, http on this machine.
export function baseUrl(address) {
	const trimmed = address.trim();
	const here = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?(?:\/|$)/i.test(trimmed);
	const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed) ? trimmed : `${here ? 'http' : 'https'}://${trimmed}`;
	let url;
	try {
		url = new URL(full);
	} catch {
		throw new Error('This is not an address. Write HOST:PORT or https://HOST.');
	}
	if (!['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.password !== '')
		throw new Error('The address must begin with http:// or https://, and have no password in it.');
	url.search = '';
	url.hash = '';
	if (!url.pathname.endsWith('/'))
		url.pathname += '/';
	return url;
}

async function readBounded(response) {
	const reader = response.body.getReader();
	const parts = [];
	let length = 0;
	for (;;) {
		const { done, value } = await reader.read();
		if (done)
			break;
		length += value.length;
		if (length > MAX_EVIDENCE) {
			await reader.cancel();
			throw new Error('The answer is longer than 8 MiB.');
		}
		parts.push(value);
	}
	return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function unreachable(url) {
	const mixed = location.protocol === 'https:' && url.protocol === 'http:';
	return new Error(`${url.host} could not be asked. ` + (mixed
		? 'A page that was loaded by https may not ask an http address: save the page and open it from disk.'
		: 'Is the address right, does "sealctl attest --serve" run there, and does your browser know its certificate?'));
}

// {evidence, nonce, url}: a fresh document for a nonce that is made here.
export async function askInstance(address) {
	const url = baseUrl(address);
	const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
	let response;
	try {
		response = await fetch(new URL(`v1/evidence?nonce=${toHex(nonce)}`, url), {
			cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
			signal: AbortSignal.timeout(TIMEOUT_MS),
		});
	} catch (failure) {
		throw failure.name === 'TimeoutError' ? new Error(`${url.host} did not answer within 30 s.`)
			: unreachable(url);
	}
	const body = await readBounded(response);
	if (response.ok)
		return { evidence: await readEvidence(body), nonce, url };
	const text = fromUtf8(body);
	const answer = text === null ? undefined : parseJson(text);
	const why = isObject(answer) && typeof answer.error === 'string' ? `: ${answer.error.slice(0, 500)}` : '.';
	throw new Error(`${url.host} refused to answer (HTTP ${response.status})${why}`);
}
