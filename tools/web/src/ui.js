// The page: reads what a person gave, asks the instance, judges, shows. It keeps nothing and sends
// nothing but the question with its nonce.

import { AWS_ROOT } from './aws_root.js';
import { fromHex } from './bytes.js';
import { EntryList, byId, element } from './dom.js';
import { askInstance, readFile, MAX_EVIDENCE } from './evidence.js';
import { MODES } from './events.js';
import {
	bootValues, readKeyFile, readMeasurements, readMember, readModelDigest, readModelFile, readPcr, readRootFile,
} from './inputs.js';
import { readVector } from './vector.js';
import { judge } from './verdict.js';
import { showProblem, showVerdict } from './view.js';
import { printable } from './words.js';

const state = { file: null, root: AWS_ROOT, running: 0 };
const result = byId('result');
const lists = {
	models: new EntryList(byId('models'), { ordered: true, onChange: outdate }),
	members: new EntryList(byId('members'), { ordered: true, onChange: outdate }),
	owners: new EntryList(byId('owners'), { onChange: outdate }),
	boot: new EntryList(byId('boot'), { onChange: outdate }),
};

// A verdict that does not belong to what is on the page any more is marked as such.
function outdate() {
	const shown = byId('sentence') !== null;
	result.classList.toggle('outdated', shown);
	byId('outdated').hidden = !shown;
}

function complain(id, text) {
	const place = byId(id);
	place.textContent = printable(text);
	place.hidden = text === '';
}

// ---------------------------------------------------------------- the request

function numberOf(id, least, most, what) {
	const text = byId(id).value.trim();
	if (!/^\d{1,9}$/.test(text) || Number(text) < least || Number(text) > most)
		throw new Error(`${what} must be a number of ${least} to ${most}.`);
	return Number(text);
}

function expectations(evidence) {
	if (Object.values(lists).some((list) => list.pending()))
		throw new Error('A file is still being read.');
	const models = lists.models.values();
	const ownerKeys = lists.owners.values(), members = lists.members.values();
	const modes = MODES.filter((mode) => byId(`mode-${mode}`).checked);
	const kms = byId('kms').value.split(/\s+/).filter((pin) => pin !== '');
	if (modes.length === 0)
		throw new Error('No measuring mode is accepted: choose at least one.');
	if (evidence.eventLog === null && models.length === 0 && 
		(ownerKeys.length > 0 || members.length > 0 || modes.length < MODES.length))
		throw new Error('A document alone does not tell what the PCR holds. Add the expected models, or give evidence with an event log.');
	return {
		root: state.root, boot: bootValues(lists.boot.values().flat()), models, ownerKeys, modes,
		modesAsked: modes.length < MODES.length,
		modelPcr: Number(byId('model-pcr').value), // never what the evidence names: nobody signed that
		seals: [...evidence.seals, ...models.map((model) => model.seal).filter((seal) => seal !== null)],
		sets: [...models.map((model) => model.set).filter((set) => set !== null), ...evidence.sets],
		members: members.length > 0 ? members : null, eventLog: evidence.eventLog, systemdLog: evidence.systemdLog,
		attest: byId('attest').value, kms, debug: byId('debug').checked,
	};
}

async function conclude(evidence, when) {
	const request = { document: evidence.document, ...expectations(evidence), ...when };
	const verdict = await judge(request);
	showVerdict(result, verdict, { tlsKey: null, ...request }, evidence.mounts);
	byId('outdated').hidden = true;
	result.classList.remove('outdated');
}

async function run(button, work) {
	const turn = ++state.running;
	button.disabled = true;
	byId('busy').hidden = false;
	try {
		await work();
	} catch (failure) {
		if (turn === state.running)
			showProblem(result, failure.message);
		byId('outdated').hidden = true;
		result.classList.remove('outdated');
	}
	button.disabled = false;
	byId('busy').hidden = true;
	byId('verdict').focus({ preventScroll: true });
	byId('verdict').scrollIntoView({ block: 'start' });
}

async function ask(event) {
	event.preventDefault();
	await run(byId('ask-button'), async () => {
		const maxAge = numberOf('max-age', 0, 999999999, 'The age');
		const { evidence, nonce, url } = await askInstance(byId('address').value);
		warnAboutOrigin(url);
		await conclude(evidence, { nonce, maxAge, time: Date.now() / 1000 });
	});
}

function nonceOfFile() {
	const text = byId('nonce').value.trim();
	const nonce = fromHex(text);
	if (nonce === null)
		throw new Error('The nonce must be hex digits.');
	return text === '' ? null : nonce;
}

async function judgeFile() {
	await run(byId('file-button'), async () => {
		const { file } = state;
		if (file === null)
			throw new Error('Choose a document or an evidence file first.');
		if (file.size > MAX_EVIDENCE)
			throw new Error(`${file.name} is longer than 8 MiB: neither a document nor evidence.`);
		const evidence = await readFile(new Uint8Array(await file.arrayBuffer()));
		const now = byId('when-now').checked;
		await conclude(evidence, { nonce: nonceOfFile(), time: Date.now() / 1000,
			maxAge: now ? numberOf('max-age', 0, 999999999, 'The age') : null });
	});
}

// ---------------------------------------------------------------- what is expected

function addText(input, problem, list, read, describe) {
	try {
		const value = read(input.value);
		list.add({ text: describe(input.value.trim()), note: '', value });
		input.value = '';
		complain(problem, '');
	} catch (failure) {
		complain(problem, failure.message);
	}
	input.focus();
}

function shortened(text) {
	return text.length > 26 ? `${text.slice(0, 22)}…` : text;
}

async function addFiles(files, problem, list, read, note) {
	complain(problem, '');
	for (const file of files) {
		const control = new AbortController();
		const entry = list.add({ text: printable(file.name), note: '', abort: () => control.abort() });
		try {
			entry.value = await read(file, (share) => entry.bar?.setAttribute('value', share), control.signal);
			entry.note = note(entry.value);
			list.changed();
		} catch (failure) {
			if (!control.signal.aborted) {
				list.remove(entry);
				complain(problem, failure.message);
			}
		}
	}
}

function connectText(name, list, read) {
	byId(`${name}-form`).addEventListener('submit', (event) => {
		event.preventDefault();
		addText(byId(`${name}-text`), `${name}-problem`, list, read, shortened);
	});
}

function connectFiles(id, use) {
	const input = byId(id);
	input.addEventListener('change', () => {
		use([...input.files]);
		input.value = '';
	});
}

function chooseDocument([file]) {
	state.file = file ?? null;
	byId('file-button').hidden = !file;
	byId('file-name').textContent = file ? printable(file.name) : 'no file chosen';
	outdate();
	if (file)
		judgeFile();
}

function sortDropped(files) {
	const models = files.filter((file) => /\.(?:seal|gguf|safetensors)$|^sealed\.set$/.test(file.name));
	const keys = files.filter((file) => file.name.endsWith('.pub'));
	const [other] = files.filter((file) => !models.includes(file) && !keys.includes(file));
	useModelFiles(models);
	useKeyFiles(keys);
	if (other)
		chooseDocument([other]);
}

function useModelFiles(files) {
	return addFiles(files, 'models-problem', lists.models, readModelFile,
		(model) => model.seal ? `sealed as ${printable(model.label)}`
			: model.set ? `the set ${printable(model.label)}` : 'hashed here');
}

function useKeyFiles(files) {
	return addFiles(files, 'owners-problem', lists.owners, readKeyFile, () => '');
}

async function useRoot([file]) {
	try {
		state.root = file ? await readRootFile(file) : AWS_ROOT;
		byId('root-name').textContent = file ? printable(file.name) : 'AWS Nitro root G1';
		byId('root-reset').hidden = !file;
		complain('root-problem', '');
		outdate();
	} catch (failure) {
		complain('root-problem', failure.message);
	}
}

// ---------------------------------------------------------------- the page itself

// A page proves nothing about whoever serves it.
function warnAboutOrigin(asked) {
	const served = location.protocol === 'http:' || location.protocol === 'https:';
	const note = byId('origin');
	note.hidden = !served;
	if (!served)
		return;
	const same = asked && asked.hostname === location.hostname;
	note.className = same ? 'warning' : 'hint';
	note.textContent = same
		? `This page was loaded from ${location.host}, the machine that it checks. A page that the instance itself serves proves nothing: take it from somewhere else, or open it from disk.`
		: `This page was loaded from ${location.host}: its verdict is worth as much as your trust in that host. A page that the instance itself serves proves nothing. Best save it and open it from disk.`;
}

function connect() {
	byId('ask').addEventListener('submit', ask);
	byId('file-button').addEventListener('click', judgeFile);
	connectFiles('file', chooseDocument);
	connectFiles('models-file', useModelFiles);
	connectFiles('owners-file', useKeyFiles);
	connectFiles('boot-file', (files) => addFiles(files, 'boot-problem', lists.boot, readMeasurements,
		(found) => `PCR ${found.map((entry) => entry.index).join(', ')}`));
	connectFiles('root-file', useRoot);
	byId('root-reset').addEventListener('click', () => useRoot([]));
	connectText('models', lists.models, readModelDigest);
	connectText('members', lists.members, readMember);
	connectText('boot', lists.boot, readPcr);
	for (const id of ['expect', 'source-file'])
		byId(id).addEventListener('change', outdate);
	document.addEventListener('dragover', (event) => {
		event.preventDefault();
		document.body.classList.add('dragging');
	});
	document.addEventListener('dragleave', () => document.body.classList.remove('dragging'));
	document.addEventListener('drop', (event) => {
		event.preventDefault();
		document.body.classList.remove('dragging');
		sortDropped([...event.dataTransfer.files]);
	});
	for (let index = 0; index <= 15; index++)
		byId('model-pcr').append(element('option', { value: String(index) }, `PCR ${index}`));
	byId('model-pcr').value = '15';
}

connect();
warnAboutOrigin(null);
if (!globalThis.crypto?.subtle) {
	byId('ask-button').disabled = byId('file-button').disabled = true;
	showProblem(result, 'This browser gives cryptography only to pages from disk or by https. Save this page and open it from disk.');
}

// For the console, and for the tests: the same judgement without the page.
globalThis.sealedfsVerify = { judgeVector: async (request) => judge(await readVector(request)) };
