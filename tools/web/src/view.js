// Shows a verdict: the sentence, what was not checked, the steps, the PCRs, what the document states.

import { equal, fromUtf8, isZero, toHex } from './bytes.js';
import { element } from './dom.js';
import { ALWAYS_NOT_CHECKED, NOT_CHECKED, PASSED, STEP_NAMES, printable, purposeOf } from './words.js';

const BADGES = { passed: '✓ passed', failed: '✗ failed', 'not asked': '– not asked' };

function stepRow(step) {
	const reason = step.status === 'failed' ? step.reason : step.status === 'passed' ? PASSED[step.name] : '';
	return element('li', { class: step.status.replace(' ', '-'), 'data-step': step.name, 'data-status': step.status },
		element('span', { class: 'step' }, STEP_NAMES[step.name]),
		element('span', { class: 'badge' }, BADGES[step.status]),
		element('span', { class: 'why' }, printable(reason)));
}

function notChecked(verdict, request) {
	const open = verdict.steps.filter((step) => step.status === 'not asked').map((step) => NOT_CHECKED[step.name]);
	if (request.nonce === null && request.maxAge !== null)
		open.unshift('Whether the document answers you: without a nonce of yours, anyone may have asked for it.');
	return element('section', { class: 'open' }, element('h3', {}, 'Not checked'),
		element('ul', {}, ...[...open, ALWAYS_NOT_CHECKED].map((text) => element('li', {}, text))));
}

function pcrRemark(index, value, verdict, request) {
	const approved = request.boot.get(index);
	if (approved !== undefined)
		return approved.some((one) => equal(one, value)) ? ['good', 'approved'] : ['bad', 'not approved'];
	const step = (name) => verdict.steps.find((one) => one.name === name).status;
	if (index === request.modelPcr) {
		const relevant = ['log', 'model'].map(step).filter((status) => status !== 'not asked');
		if (relevant.length > 0)
			return relevant.includes('failed') ? ['bad', 'models: failed'] : ['good', 'models: explained'];
	}
	return ['', '–'];
}

function pcrRow(index, value, verdict, request) {
	const [tone, remark] = pcrRemark(index, value, verdict, request);
	const hex = toHex(value);
	const shown = isZero(value) ? 'zero' : value.every((byte) => byte === 255) ? 'all ff' : hex;
	return element('tr', {},
		element('th', { scope: 'row' }, String(index)),
		element('td', {}, purposeOf(index, verdict.fields.enclave)),
		element('td', { class: 'hex', title: hex }, shown),
		element('td', { class: tone }, remark));
}

function pcrTable(verdict, request) {
	const rows = [...verdict.fields.pcrs].sort(([one], [other]) => one - other)
		.map(([index, value]) => pcrRow(index, value, verdict, request));
	return element('details', { class: 'pcrs' },
		element('summary', {}, `PCR values (${rows.length}, SHA-384)`),
		element('table', {},
			element('thead', {}, element('tr', {}, ...['PCR', 'Purpose', 'Value', 'Verdict']
				.map((name) => element('th', { scope: 'col' }, name)))),
			element('tbody', {}, ...rows)));
}

function bytesText(bytes) {
	if (bytes === null)
		return 'none';
	const text = fromUtf8(bytes);
	return bytes.length > 0 && text !== null && /^[ -~]+$/.test(text) ? text : toHex(bytes);
}

function facts(verdict, extra) {
	const { fields } = verdict;
	const rows = [
		['Machine', fields.moduleId],
		['Kind', fields.enclave ? 'Nitro Enclave' : 'EC2 instance with NitroTPM'],
		['Signed at', new Date(fields.timestamp).toISOString()],
		['Nonce', bytesText(fields.nonce)],
		['User data', bytesText(fields.userData)],
		['Public key', bytesText(fields.publicKey)],
		...extra,
	];
	return element('details', {},
		element('summary', {}, 'What the document states'),
		element('dl', {}, ...rows.flatMap(([name, value]) => [element('dt', {}, name),
			element('dd', { class: 'hex' }, printable(value))])));
}

function mountsOf(mounts) {
	const lines = mounts.slice(0, 100).filter((mount) => typeof mount?.path === 'string').map((mount) => {
		const models = (Array.isArray(mount.models) ? mount.models : []).slice(0, 1000)
			.filter((model) => typeof model?.name === 'string');
		return element('li', {}, element('bdi', {}, printable(mount.path)), element('ul', {},
			...models.map((model) => element('li', {}, element('bdi', {}, printable(model.name)),
				typeof model.state === 'string' ? ` (${printable(model.state)})` : ''))));
	});
	return lines.length === 0 ? null : element('details', {},
		element('summary', {}, 'What the machine says that it serves (not checked)'),
		element('ul', {}, ...lines));
}

function membersOf(verdict) {
	const shown = verdict.verified ? verdict.members : [];
	return shown.length === 0 ? null : element('section', { class: 'members' }, element('h3', {}, 'Members'),
		element('dl', {}, ...shown.flatMap((member) => [
			element('dt', {}, element('bdi', {}, printable(member.path)), ` (${member.length} bytes)`),
			...['verity', 'sha256', 'sha384'].filter((kind) => member[kind])
				.map((kind) => element('dd', { class: 'hex' }, `${kind}:${member[kind]}`))])));
}

// Only a verdict that knows what was booted, what was measured, and what of it was expected is shown in green.
function markOf(verdict) {
	if (!verdict.verified)
		return ['bad', verdict.exitCode === 3 ? '✗ Not authentic' : '✗ Not what was expected'];
	const asked = (name) => verdict.steps.find((step) => step.name === name).status !== 'not asked';
	return asked('boot') && (asked('model') || asked('owner')) ? ['good', '✓ Verified']
		: ['part', '✓ Verified as far as it was checked'];
}

// request: as it was judged; mounts: of the evidence.
export function showVerdict(place, verdict, request, mounts) {
	const [tone, mark] = markOf(verdict);
	place.replaceChildren(...[
		element('div', { class: `card ${tone}`, 'data-exit': String(verdict.exitCode) },
			element('p', { class: 'mark' }, mark),
			element('p', { class: 'sentence', id: 'sentence' }, printable(verdict.sentence))),
		membersOf(verdict),
		notChecked(verdict, request),
		element('section', {}, element('h3', {}, 'Steps'),
			element('ol', { class: 'steps' }, ...verdict.steps.map(stepRow))),
		verdict.fields ? pcrTable(verdict, request) : null,
		verdict.fields ? facts(verdict, [['Model PCR', String(request.modelPcr)]]) : null,
		mountsOf(mounts),
	].filter((part) => part !== null));
}

export function showProblem(place, text) {
	place.replaceChildren(element('div', { class: 'card bad', 'data-exit': 'none' },
		element('p', { class: 'mark' }, '✗ No verdict'),
		element('p', { class: 'sentence', id: 'sentence' }, printable(text))));
}
