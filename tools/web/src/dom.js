// Small helpers for the document. Text from outside only ever becomes a text node.

export function byId(id) {
	return document.getElementById(id);
}

// element('p', {class: 'x'}, 'text', child…)
export function element(name, attributes = {}, ...children) {
	const made = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (value !== null && value !== false)
			made.setAttribute(key, value === true ? '' : value);
	}
	made.append(...children.filter((child) => child !== null));
	return made;
}

// A list of entries that a person can take away again, and put into another order where that counts.
export class EntryList {
	// onChange() is called after every change.
	constructor(list, { ordered = false, onChange }) {
		this.list = list;
		this.ordered = ordered;
		this.onChange = onChange;
		this.entries = [];
	}

	// entry: {text, note, progress (0 to 1, or null), abort: function or undefined, value}.
	add(entry) {
		this.entries.push(entry);
		this.changed();
		return entry;
	}

	remove(entry) {
		entry.abort?.();
		this.entries = this.entries.filter((one) => one !== entry);
		this.changed();
	}

	moveUp(entry) {
		const at = this.entries.indexOf(entry);
		this.entries.splice(at, 1);
		this.entries.splice(at - 1, 0, entry);
		this.changed();
		this.list.children[at - 1].querySelector('button').focus();
	}

	changed() {
		this.draw();
		this.onChange();
	}

	values() {
		return this.entries.filter((entry) => entry.value !== undefined).map((entry) => entry.value);
	}

	pending() {
		return this.entries.some((entry) => entry.value === undefined);
	}

	draw() {
		this.list.replaceChildren(...this.entries.map((entry, i) => this.row(entry, i)));
		this.list.hidden = this.entries.length === 0;
	}

	row(entry, i) {
		const up = this.ordered && i > 0 ? element('button',
			{ type: 'button', class: 'small', 'aria-label': `Move up: ${entry.text}` }, 'Up') : null;
		const away = element('button', { type: 'button', class: 'small', 'aria-label': `Remove: ${entry.text}` }, 'Remove');
		up?.addEventListener('click', () => this.moveUp(entry));
		away.addEventListener('click', () => {
			this.remove(entry);
			(this.list.querySelector('button') ?? this.list.parentElement.querySelector('input, button')).focus();
		});
		entry.bar = entry.value === undefined
			? element('progress', { max: 1, value: 0, 'aria-label': `Reading ${entry.text}` }) : null;
		return element('li', {}, element('span', { class: 'entry' }, element('bdi', {}, entry.text),
			entry.note ? element('span', { class: 'note' }, ` ${entry.note}`) : null, entry.bar), up, away);
	}
}
