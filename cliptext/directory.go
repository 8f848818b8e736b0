package cliptext

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/internal/pyjson"
)

// maxAdded bounds the bytes of added words together, each of which takes some hundred bytes of memory.
const maxAdded = 1 << 18

// A directory is the files of a tokenizer by their names.
type directory struct {
	name  string // that of its tokenizer.json
	files map[string][]byte
	rules Rules
}

// A token is a word that is named in one of the files: a text, or an object.
type token struct {
	addedWord
	normalized *bool
	object     bool
}

func (t *token) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		return json.Unmarshal(data, &t.Content)
	}
	var o struct {
		addedWord
		Normalized *bool `json:"normalized"`
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return err
	}
	t.addedWord, t.normalized, t.object = o.addedWord, o.Normalized, true
	return nil
}

// word returns the token as an added word.
func (t token) word(number int, special bool) addedWord {
	w := t.addedWord
	w.number, w.Special = number, w.Special || special
	w.Normalized = !w.Special
	if t.normalized != nil {
		w.Normalized = *t.normalized
	}
	return w
}

// roles are the keys of the words that have a meaning, in the order in which they are added, and what they are if nothing says so.
//
// Source: huggingface/transformers, tokenization_utils_base.py, SPECIAL_TOKENS_ATTRIBUTES; models/clip/tokenization_clip.py.
var roles = []struct{ key, word string }{
	{"bos_token", startOfText}, {"eos_token", endOfText}, {"unk_token", endOfText}, {"sep_token", ""}, {"pad_token", endOfText}, {"cls_token", ""}, {"mask_token", ""},
}

// tokenizer reads the files as transformers does: tokenizer.json first, or else vocab.json and merges.txt; what added_tokens_decoder in
// tokenizer_config.json says of added words, or else special_tokens_map.json, added_tokens.json and tokenizer.json.
//
// Source: huggingface/transformers, tokenization_utils_base.py, _from_pretrained; tokenization_utils_tokenizers.py,
// TokenizersBackend (5.24).
func (d *directory) tokenizer() (*Tokenizer, error) {
	for name, data := range d.files {
		if name == mergesFile {
			continue
		}
		plain, err := pyjson.Plain(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cmp.Or(map[string]string{tokenizerFile: d.name}[name], name), err)
		}
		d.files[name] = plain
	}
	config, err := d.object(configFile)
	if err != nil {
		return nil, err
	}
	if err := d.settings(config); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", configFile, ErrForm, err)
	}
	words, merges, file, err := d.vocabulary()
	if err != nil {
		return nil, err
	}
	t, err := newVocabulary(words, merges)
	if err != nil {
		return nil, err
	}
	named, err := d.tokens(config, file)
	if err != nil {
		return nil, err
	}
	if err := t.add(named); err != nil {
		return nil, err
	}
	if file != nil {
		if err := file.PostProcessor.fits(t); err != nil {
			return nil, fmt.Errorf("%s: %w: post_processor %w", d.name, ErrForm, err)
		}
	}
	return t.With(d.rules), nil
}

// object reads a file that is an object of JSON, nil if it is absent.
func (d *directory) object(name string) (map[string]json.RawMessage, error) {
	data, ok := d.files[name]
	if !ok {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return members, nil
}

// settings reads what tokenizer_config.json says beside words.
func (d *directory) settings(config map[string]json.RawMessage) error {
	d.rules = Transformers
	if raw, ok := config[libraryKey]; ok {
		if err := json.Unmarshal(raw, &d.rules); err != nil {
			return fmt.Errorf("%s is %.40s, want a text", libraryKey, raw)
		}
		if err := d.rules.check(); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		key  string
		want []string
	}{
		{"tokenizer_class", []string{`"CLIPTokenizer"`, `"CLIPTokenizerFast"`, `"PreTrainedTokenizerFast"`, `"TokenizersBackend"`, "null"}},
		{"split_special_tokens", []string{"false", "null"}},
		{"fast_tokenizer_files", []string{"[]", "null"}},
		{"truncation_side", []string{`"right"`}},
	} {
		if raw, ok := config[c.key]; ok && !slices.Contains(c.want, string(bytes.TrimSpace(raw))) {
			return fmt.Errorf("%s is %.60s, want %s", c.key, raw, c.want[0])
		}
	}
	return nil
}

// vocabulary reads the words, their numbers and the list of merges. file is nil if they are not in tokenizer.json.
func (d *directory) vocabulary() (words map[string]int, merges []string, file *tokenizerJSON, err error) {
	if data, ok := d.files[tokenizerFile]; ok {
		if file, err = parseTokenizerJSON(data); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", d.name, err)
		}
		return file.Model.Vocab, file.Model.Merges, file, nil
	}
	for _, name := range []string{vocabFile, mergesFile} {
		if _, ok := d.files[name]; !ok {
			return nil, nil, nil, fmt.Errorf("no %s, and no %s: %w", name, tokenizerFile, fs.ErrNotExist)
		}
	}
	if err := json.Unmarshal(d.files[vocabFile], &words); err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", vocabFile, err)
	}
	list, err := checkText(d.files[mergesFile])
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", mergesFile, err)
	}
	for i, line := range strings.Split(list, "\n") {
		if line = strings.TrimSuffix(line, "\r"); line != "" && !(i == 0 && strings.HasPrefix(line, "#version")) {
			merges = append(merges, line)
		}
	}
	return words, merges, nil, nil
}

// said are the words that files name beside the vocabulary.
type said struct {
	decoder []addedWord // those with numbers
	named   []token     // those of roles, in the order of these
	extra   []token     // others that mean something
}

// isRole says whether a key is that of one of the roles.
func isRole(key string) bool {
	return slices.ContainsFunc(roles, func(r struct{ key, word string }) bool { return r.key == key })
}

// tokens reads what the files say of added words.
func (d *directory) tokens(config map[string]json.RawMessage, file *tokenizerJSON) (all said, err error) {
	raw, whole := config["added_tokens_decoder"]
	if whole {
		if all.decoder, err = decoderWords(raw); err != nil {
			return said{}, fmt.Errorf("%s: added_tokens_decoder%w", configFile, err)
		}
	}
	named, err := d.namedTokens(whole)
	if err != nil {
		return said{}, err
	}
	special := map[string]bool{} // what files call so
	for _, r := range roles {
		t, given := named.byRole[r.key]
		switch {
		case !given:
			t = &token{addedWord: addedWord{Content: r.word}}
		case t == nil:
			t = &token{}
		default:
			special[t.Content] = true
		}
		if all.named = append(all.named, *t); t.Content == "" && (r.key == "bos_token" || r.key == "eos_token") {
			return said{}, unlike(configFile, r.key, []byte("null"), "a token")
		}
	}
	for _, t := range named.lists {
		special[t.Content] = true
	}
	all.extra = slices.Concat(named.others, named.lists, named.late)
	if !whole {
		all.decoder, err = d.numberedWords(file, special)
		return all, err
	}
	if file == nil {
		return all, nil
	}
	known := map[string]bool{}
	for _, w := range all.decoder {
		known[w.Content] = true
	}
	for _, w := range file.Added {
		if !known[w.Content] {
			return said{}, fmt.Errorf("%s: added_tokens has %.60q, and added_tokens_decoder in %s has not, which transformers 5 goes by", d.name, w.Content, configFile)
		}
	}
	return all, nil
}

// unlike returns the error for a member of a file that is no such thing as is wanted.
func unlike(name, key string, raw []byte, want string) error {
	return fmt.Errorf("%s: %s is %.60s, want %s", name, key, raw, want)
}

// decoderWords reads an added_tokens_decoder: words by their numbers.
func decoderWords(raw []byte) (words []addedWord, err error) {
	var of map[string]token
	if err := json.Unmarshal(raw, &of); err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	for key, t := range of {
		n, err := strconv.Atoi(key)
		if err != nil || !t.object {
			return nil, fmt.Errorf(" has %.100q: want numbers, and objects for them", key)
		}
		words = append(words, t.word(n, false))
	}
	return words, nil
}

// namedTokens are the words that mean something by where they stand.
type namedTokens struct {
	byRole map[string]*token // nil where a role has none
	others []token           // of other keys that end in _token
	lists  []token           // of extra_special_tokens, or additional_special_tokens before version 5
	late   []token           // of the latter in special_tokens_map.json
}

// namedTokens reads tokenizer_config.json and, unless it is whole by itself, special_tokens_map.json.
func (d *directory) namedTokens(whole bool) (n namedTokens, err error) {
	n.byRole = map[string]*token{}
	bad := func(name, key string, raw []byte, want string) (namedTokens, error) {
		return namedTokens{}, unlike(name, key, raw, want)
	}
	hasList := false
	for _, name := range []string{configFile, specialsFile} {
		members, err := d.object(name)
		if err != nil {
			return namedTokens{}, err
		}
		if whole && name == specialsFile {
			break
		}
		read := func(raw []byte) (t token, err error) {
			err = json.Unmarshal(raw, &t)
			t.Special = t.Special || t.object && name == specialsFile
			return t, err
		}
		for _, key := range keysOf(d.files[name]) {
			raw := members[key]
			null := string(raw) == "null"
			switch {
			case isRole(key):
				t, err := read(raw)
				if err != nil && !null {
					return bad(name, key, raw, "a text or an object")
				}
				if n.byRole[key] = &t; null {
					n.byRole[key] = nil
				}
			case strings.HasSuffix(key, "_token") && !null:
				if t, err := read(raw); err == nil { // otherwise it is one as add_bos_token
					n.others = append(n.others, t)
				}
			}
		}
		for _, key := range []string{"extra_special_tokens", "additional_special_tokens"} {
			raw, given := members[key]
			var list []json.RawMessage
			switch {
			case !given || string(raw) == "null":
				continue
			case bytes.HasPrefix(raw, []byte("{")) && key == "extra_special_tokens":
				var byName map[string]json.RawMessage
				if err := json.Unmarshal(raw, &byName); err != nil {
					return bad(name, key, raw, "an object of tokens")
				}
				for _, of := range keysOf(raw) {
					t, err := read(byName[of])
					if err != nil {
						return bad(name, key+"."+of, byName[of], "a text or an object")
					}
					n.others = append(n.others, t)
				}
				continue
			case json.Unmarshal(raw, &list) != nil:
				return bad(name, key, raw, "a list of tokens")
			case key == "additional_special_tokens" && hasList:
				continue // the name before version 5
			}
			into := &n.lists
			if name == specialsFile && key == "additional_special_tokens" {
				into = &n.late
			}
			for i, raw := range list {
				t, err := read(raw)
				if err != nil {
					return bad(name, fmt.Sprintf("%s[%d]", key, i), raw, "a text or an object")
				}
				*into = append(*into, t)
			}
			hasList = hasList || len(list) > 0
		}
	}
	return n, nil
}

// numberedWords returns the added words with numbers, by added_tokens.json and tokenizer.json, which counts where both have one.
func (d *directory) numberedWords(file *tokenizerJSON, special map[string]bool) (words []addedWord, err error) {
	numbered := map[int]addedWord{}
	var legacy map[string]int
	if data, ok := d.files[addedFile]; ok {
		if err := json.Unmarshal(data, &legacy); err != nil {
			return nil, fmt.Errorf("%s: %w", addedFile, err)
		}
	}
	for text, n := range legacy {
		if other, twice := numbered[n]; twice {
			return nil, fmt.Errorf("%s: %.60q and %.60q have the number %d", addedFile, min(text, other.Content), max(text, other.Content), n)
		}
		numbered[n] = token{addedWord: addedWord{Content: text}}.word(n, special[text])
	}
	if file != nil {
		for _, w := range file.Added {
			w.number = w.Number
			numbered[w.Number] = w.addedWord
		}
	}
	for _, n := range slices.Sorted(maps.Keys(numbered)) {
		words = append(words, numbered[n])
	}
	return words, nil
}

// keysOf returns the keys of an object of JSON in their order. None stands twice, since pyjson keeps the last alone.
func keysOf(object []byte) (keys []string) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return keys
		}
		keys = append(keys, key)
	}
	return keys
}

// add adds words as transformers and tokenizers do: those with numbers, which must be the numbers that they get, then those of roles and the
// others, if they are not among these.
func (t *Tokenizer) add(from said) error {
	byNumber(from.decoder)
	numbers, size, next := map[string]int{}, 0, len(t.words)
	add := func(w addedWord) (int, error) {
		if _, twice := numbers[w.Content]; twice {
			return 0, fmt.Errorf("the added token %.60q stands twice", w.Content)
		}
		if size += len(w.Content); size > maxAdded {
			return 0, fmt.Errorf("the added tokens have more than %d bytes", maxAdded)
		}
		n, known := t.words[w.Content]
		if !known {
			n = next
			if other, taken := t.texts[n]; taken {
				return 0, fmt.Errorf("the added token %.60q is number %d, as %.60q is", w.Content, n, other)
			}
			t.texts[n] = w.Content
		}
		numbers[w.Content] = n
		w.number, next = n, max(next, n+1)
		t.added = append(t.added, w)
		return n, nil
	}
	for _, w := range from.decoder {
		if w.Content == "" {
			continue
		}
		if n, err := add(w); err != nil {
			return err
		} else if n != w.number {
			return fmt.Errorf("the added token %.60q has number %d, want %d, which transformers gives it", w.Content, w.number, n)
		}
	}
	for i, w := range slices.Concat(from.named, from.extra) {
		if w.Content == "" {
			continue
		}
		n, known := numbers[w.Content]
		_, base := t.words[w.Content]
		if !known && !base && i < 2 {
			return fmt.Errorf("%d tokens, and none is %s", len(t.words), w.Content)
		}
		if !known {
			var err error
			if n, err = add(w.word(0, !w.object)); err != nil {
				return err
			}
			t.added[len(t.added)-1].Special = true
		}
		switch i {
		case 0:
			t.start = n
		case 1:
			t.end = n
		}
	}
	for i := range t.added { // a word of a role is special
		is := func(w token) bool { return w.Content == t.added[i].Content }
		t.added[i].Special = t.added[i].Special || slices.ContainsFunc(from.named, is)
	}
	byNumber(t.added)
	return nil
}

// A tokenizerJSON is what a tokenizer.json says, as the library tokenizers writes it.
//
// Source: huggingface/tokenizers, tokenizers/src/tokenizer/serialization.rs, and the serialization of the parts.
type tokenizerJSON struct {
	Model struct {
		Vocab  map[string]int `json:"vocab"`
		Merges mergesJSON     `json:"merges"`
	} `json:"model"`
	Added []struct {
		Number int `json:"id"`
		addedWord
	} `json:"added_tokens"`
	PostProcessor postProcessor `json:"post_processor"`
}

// mergesJSON is a list of merges, each a text of two words or a list of them.
type mergesJSON []string

func (m *mergesJSON) UnmarshalJSON(data []byte) error {
	var texts []string
	if json.Unmarshal(data, &texts) == nil {
		*m = texts
		return nil
	}
	var pairs [][]string
	if err := json.Unmarshal(data, &pairs); err != nil {
		return fmt.Errorf("model.merges is neither a list of texts nor of pairs: %w", err)
	}
	for i, p := range pairs {
		if len(p) != 2 {
			return fmt.Errorf("model.merges: merge %d has %d tokens, want 2", i, len(p))
		}
		*m = append(*m, p[0]+" "+p[1])
	}
	return nil
}

// clipSplits are the patterns by which CLIP's tokenizers cut, of transformers 4 and 5; the two differ in nothing.
//
// Source: huggingface/transformers, convert_slow_tokenizer.py, CLIPConverter (4.57); models/clip/tokenization_clip.py (5.24).
var clipSplits = []string{
	`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
	`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
}

// byteLevel is how the pieces become bytes.
var byteLevel = map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}

// clipParts are the parts of a tokenizer.json that do not depend on the words, as they are written.
var clipParts = map[string]any{
	"normalizer": map[string]any{"type": "Sequence", "normalizers": []any{
		map[string]any{"type": "NFC"},
		map[string]any{"type": "Replace", "pattern": map[string]any{"Regex": `\s+`}, "content": " "},
		map[string]any{"type": "Lowercase"},
	}},
	"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{
		map[string]any{"type": "Split", "pattern": map[string]any{"Regex": clipSplits[0]}, "behavior": "Removed", "invert": true},
		byteLevel,
	}},
}

// clipModel are the members of model beside words and merges, as they are written.
var clipModel = map[string]any{
	"type": "BPE", "dropout": nil, "continuing_subword_prefix": "", "end_of_word_suffix": endOfWord, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
}

// parseTokenizerJSON reads a tokenizer.json, and returns an error for what is otherwise than in those of CLIP.
func parseTokenizerJSON(data []byte) (*tokenizerJSON, error) {
	var members struct {
		Normalizer   any                        `json:"normalizer"`
		PreTokenizer any                        `json:"pre_tokenizer"`
		Model        map[string]json.RawMessage `json:"model"`
	}
	var file tokenizerJSON
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	if err := checkForm(members.Normalizer, members.PreTokenizer, members.Model); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	for i, m := range file.Model.Merges {
		pair, err := splitMerge(i, m)
		if err != nil {
			return nil, err
		}
		for _, w := range []string{pair[0], pair[1], pair[0] + pair[1]} {
			if _, ok := file.Model.Vocab[w]; !ok {
				return nil, fmt.Errorf("merge %d is %.60q, and %.60q is no token of the vocabulary", i, m, w)
			}
		}
	}
	return &file, nil
}

// checkForm returns an error for what is otherwise in parts of a tokenizer.json than in those of CLIP.
func checkForm(normalizer, preTokenizer any, model map[string]json.RawMessage) error {
	if model == nil {
		return fmt.Errorf("has no model, want one of type BPE")
	}
	// transformers 5 ignores normalizer and pre_tokenizer and takes CLIP's, transformers 4 obeys them: where they differ, so do the two.
	if err := wantJSON("normalizer", normalizer, clipParts["normalizer"]); err != nil {
		return err
	}
	err := wantJSON("pre_tokenizer", withDefaults(preTokenizer), clipParts["pre_tokenizer"])
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if key == "vocab" || key == "merges" || key == "unk_token" {
			continue
		}
		var got any
		if err := json.Unmarshal(model[key], &got); err != nil {
			return err
		}
		want, known := clipModel[key]
		if !known {
			return fmt.Errorf("model.%.40s is %.60s, want no such key", key, model[key])
		}
		nothing := got == nil || got == 0.0 || got == false || got == ""
		if key == "fuse_unk" || nothing && (want == nil || want == "" || want == false) { // unknown words are errors
			continue
		}
		if err := wantJSON("model."+key, got, want); err != nil {
			return err
		}
	}
	if err := wantJSON("model.end_of_word_suffix", model["end_of_word_suffix"], json.RawMessage(plainJSON(endOfWord))); err != nil {
		return err
	}
	return nil
}

// wantJSON returns an error if a part of a file is not what CLIP's have.
func wantJSON(key string, got, want any) error {
	if g, w := plainJSON(got), plainJSON(want); !bytes.Equal(g, w) {
		return fmt.Errorf("%s is %.200s, want %s", key, g, w)
	}
	return nil
}

// withDefaults returns a pre-tokenizer with the pattern and the members that older files write otherwise.
func withDefaults(part any) any {
	whole, _ := part.(map[string]any)
	steps, _ := whole["pretokenizers"].([]any)
	for _, step := range steps {
		s, _ := step.(map[string]any)
		switch s["type"] {
		case "Split":
			pattern, _ := s["pattern"].(map[string]any)
			if text, _ := pattern["Regex"].(string); slices.Contains(clipSplits, text) {
				pattern["Regex"] = clipSplits[0]
			}
		case "ByteLevel":
			for _, key := range []string{"trim_offsets", "use_regex"} {
				if _, ok := s[key]; !ok || key == "trim_offsets" { // which changes places alone
					s[key] = true
				}
			}
		}
	}
	return part
}

// A postProcessor puts the words around a text that begin and end it.
type postProcessor struct {
	Type     string            `json:"type"`
	Sep, Cls []json.RawMessage // RobertaProcessing, BertProcessing: word and number
	Single   []struct {
		Special  *struct{ ID string } `json:"SpecialToken"`
		Sequence *struct{ ID string } `json:"Sequence"`
	} `json:"single"` // TemplateProcessing
	Specials map[string]struct{ IDs []int } `json:"special_tokens"`
	given    bool
}

func (p *postProcessor) UnmarshalJSON(data []byte) error {
	type plain postProcessor
	if string(data) == "null" {
		return nil
	}
	p.given = true
	return json.Unmarshal(data, (*plain)(p))
}

// fits returns an error if it puts other words around a text than the tokenizer does.
func (p *postProcessor) fits(t *Tokenizer) error {
	number := func(pair []json.RawMessage) int {
		var n int
		if len(pair) != 2 || json.Unmarshal(pair[1], &n) != nil {
			return -1
		}
		return n
	}
	var start, end int
	switch {
	case !p.given:
		return fmt.Errorf("is null, want RobertaProcessing")
	case p.Type == "RobertaProcessing", p.Type == "BertProcessing":
		start, end = number(p.Cls), number(p.Sep)
	case p.Type == "TemplateProcessing" && len(p.Single) == 3 && p.Single[0].Special != nil && p.Single[1].Sequence != nil && p.Single[2].Special != nil:
		ids := func(i int) int {
			if all := p.Specials[p.Single[i].Special.ID].IDs; len(all) == 1 {
				return all[0]
			}
			return -1
		}
		start, end = ids(0), ids(2)
	case p.Type == "TemplateProcessing":
		return fmt.Errorf("single has %d parts, want the token that begins a text, the text, and the token that ends it", len(p.Single))
	default:
		return fmt.Errorf("type is %.40q, want RobertaProcessing", p.Type)
	}
	if start != t.start || end != t.end {
		return fmt.Errorf("begins texts with token %d and ends them with %d, want %d and %d, which %s says", start, end, t.start, t.end, configFile)
	}
	return nil
}

// tokenizerJSON returns a tokenizer.json.
func (t *Tokenizer) tokenizerJSON(vocab []byte, merges []string) []byte {
	added := []map[string]any{}
	for i, w := range t.addedJSON() {
		w["id"], w["special"] = t.added[i].number, t.added[i].Special
		added = append(added, w)
	}
	slices.SortFunc(added, func(a, b map[string]any) int { return cmp.Compare(a["id"].(int), b["id"].(int)) })
	model := maps.Clone(clipModel)
	model["vocab"], model["merges"], model["unk_token"] = json.RawMessage(vocab), slices.Concat([]string{}, merges), t.texts[t.end]
	file := map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added,
		"post_processor": map[string]any{
			"type": "RobertaProcessing", "sep": []any{t.texts[t.end], t.end}, "cls": []any{t.texts[t.start], t.start}, "trim_offsets": false, "add_prefix_space": false,
		},
		"decoder": map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model":   model,
	}
	maps.Copy(file, clipParts)
	return append(plainJSON(file), '\n')
}
