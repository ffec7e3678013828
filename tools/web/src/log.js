// Step "log": the machine's event log and systemd's, replayed to the model PCR. Written from
// attest/PCRS.md, "The log", and attest/verdict/VERDICT.md, "What the PCR holds".
//
// A log comes from the machine that is judged. Nothing in it is believed but what the PCR's value,
// which the document's signature covers, makes true.

import { digest, equal, fromUtf8, isZero, utf8 } from './bytes.js';
import { DIGEST_BYTES, MEASURES, MODES, extend, hasStart, modelEvent, parseStart, readDigest } from './events.js';
import { isObject, parseJson } from './strict_json.js';

const MAX_RECORD = 65536;
const SEPARATOR = 0x1e;
const LINE_FEED = 0x0a;
const BANK = 'sha384';
const BANK_BYTES = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };
const MAX_PCR = 23;
const MAX_DIGESTS = 16;
const ZERO = new Uint8Array(48);

class Malformed extends Error {
	constructor(number) {
		super(`record ${number}`);
		this.number = number;
	}
}

// The digests of a list by their bank, or null if it is broken.
function readDigests(list) {
	if (!Array.isArray(list) || list.length === 0 || list.length > MAX_DIGESTS)
		return null;
	const banks = new Map();
	for (const entry of list) {
		if (!isObject(entry) || typeof entry.hashAlg !== 'string' || typeof entry.digest !== 'string' ||
			banks.has(entry.hashAlg))
			return null;
		const known = Object.hasOwn(BANK_BYTES, entry.hashAlg);
		const value = known ? readDigest(entry.digest, BANK_BYTES[entry.hashAlg]) : undefined;
		if (value === null)
			return null;
		banks.set(entry.hashAlg, value);
	}
	return banks;
}

// What our own records have besides: attest/PCRS.md, "The log".
function isGoodContent(content) {
	return isObject(content) && readDigest(content.bootId, 16) !== null &&
		(content.eventType === 'start' ||
			(content.eventType === 'model' && MODES.includes(content.mode))) &&
		(content.before === undefined || readDigests(content.before) !== null);
}

// {record, counts, value} of a record's text; null if it is malformed. complete: a record for the PCR
// names the bank.
function readRecord(text, pcr, complete) {
	const record = text === null ? undefined : parseJson(text);
	if (!isObject(record))
		return null;
	if (typeof record.content_type !== 'string')
		return null;
	if (record.pcr === undefined) // of an NV index: nothing else in it is looked at
		return { record: {}, counts: false };
	const banks = readDigests(record.digests);
	if (!Number.isInteger(record.pcr) || record.pcr < 0 || record.pcr > MAX_PCR || banks === null ||
		(isOurs(record) && !isGoodContent(record.content)))
		return null;
	const value = banks.get(BANK);
	if (record.pcr === pcr && value === undefined && complete)
		return null;
	return { record, counts: record.pcr === pcr && value !== undefined, value };
}

// All records of a log. Throws Malformed.
function readLog(bytes, pcr, complete) {
	const found = [];
	for (let at = 0; at < bytes.length;) {
		const end = bytes.indexOf(LINE_FEED, at) + 1;
		const whole = bytes[at] === SEPARATOR && end > 0 && end - at <= MAX_RECORD;
		const entry = whole ? readRecord(fromUtf8(bytes.subarray(at + 1, end)), pcr, complete) : null;
		if (entry === null)
			throw new Malformed(found.length + 1);
		found.push(entry);
		at = end;
	}
	return found;
}

function isOurs(record) {
	return record.content_type === 'io.sealedfs';
}

function thisBoot(entries) {
	const ours = entries.filter(({ record }) => isOurs(record));
	const boot = ours[ours.length - 1]?.record.content.bootId;
	return entries.filter(({ record, counts }) => counts &&
		(!isOurs(record) || record.content.bootId === boot));
}

// {start: value in front of the chain, records: of the chain}.
function findChain(entries) {
	let first = 0, start = ZERO;
	entries.forEach(({ record }, i) => {
		if (!isOurs(record) || record.content.before === undefined)
			return;
		first = i;
		start = readDigests(record.content.before).get(BANK) ?? ZERO;
	});
	return { start, records: entries.slice(first) };
}

function contentDigests(content, mode) {
	const digests = {};
	for (const kind of MEASURES[mode]) {
		const value = readDigest(content[kind], DIGEST_BYTES[kind]);
		if (value !== null)
			digests[kind] = value;
	}
	return digests;
}

// What a record of the chain is: {start}, {model} or {unknown: true}.
async function classify({ record, value }, starts) {
	const content = record.content;
	if (!isOurs(record))
		return { unknown: true };
	if (content.eventType === 'start') {
		const start = parseStart(content.string);
		const fits = start !== null && equal(await digest('SHA-384', utf8(content.string)), value);
		return fits ? { start } : { unknown: true };
	}
	const mode = content.mode;
	const digests = contentDigests(content, mode);
	const expected = await modelEvent(mode, digests);
	if (expected === null || !equal(expected, value) ||
		(hasStart(mode) && !starts.some((start) => start.mode === mode)))
		return { unknown: true };
	return { model: { mode, digests } };
}

async function explain(records) {
	const holds = { models: [], starts: [], unknown: 0 };
	for (const entry of records) {
		const event = await classify(entry, holds.starts);
		if (event.start)
			holds.starts.push(event.start);
		else if (event.model)
			holds.models.push(event.model);
		else
			holds.unknown++;
	}
	return holds;
}

// A log could call any extension systemd's, a model's too: only the digest of a text that systemd
// extends is one.
async function isSystemd({ record, value }) {
	const text = isObject(record.content) ? record.content.string : undefined;
	return record.content_type === 'systemd' && typeof text === 'string' && /^(machine-id|file-system):/.test(text) &&
		equal(await digest('SHA-384', utf8(text)), value);
}

async function countSystemd(records) {
	let count = 0;
	for (const entry of records)
		if (await isSystemd(entry))
			count++;
	return count;
}

async function replay(start, records) {
	let value = start;
	for (const entry of records)
		value = await extend(value, entry.value);
	return value;
}

function readable(bytes, pcr, ours, name) {
	try {
		const entries = readLog(bytes ?? new Uint8Array(0), pcr, ours);
		return ours ? findChain(thisBoot(entries)) : entries.filter((entry) => entry.counts);
	} catch (failure) {
		if (failure instanceof Malformed)
			return { malformed: `${name} is malformed at record ${failure.number}` };
		throw failure;
	}
}

// {reason} of a failure, or {holds: {models, starts, unknown, systemd}}. value: the PCR's, undefined
// if the document has no such PCR.
export async function judgeLog(eventLog, systemdLog, pcr, value) {
	const chain = readable(eventLog, pcr, true, 'the event log');
	if (chain.malformed)
		return { reason: chain.malformed };
	const systemd = readable(systemdLog, pcr, false, "systemd's log");
	if (systemd.malformed)
		return { reason: systemd.malformed };
	if (value === undefined)
		return { reason: `the document has no PCR ${pcr}` };
	const front = chain.records.length > 0 ? chain.start : value;
	const explained = isZero(front) ||
		equal(await replay(ZERO, systemd), front);
	if (!explained)
		return { reason: `something unknown was extended into PCR ${pcr} before the first record of the event log` };
	if (!equal(await replay(front, chain.records), value))
		return { reason: `PCR ${pcr} does not have the value that the event log leads to: ` +
			'the log is not complete, or something else was extended' };
	const holds = await explain(chain.records);
	const theirs = isZero(front) ? [] : systemd;
	const proven = await countSystemd(theirs);
	return { holds: { ...holds, unknown: holds.unknown + theirs.length - proven, systemd: proven } };
}
