package quality

import (
	"net/mail"
	"net/url"
	"sort"
	"strings"
	"unicode"

	"golang.org/x/text/language"
)

// The formats that a string attribute, or the elements of a set, may have.
const (
	FormatEmail    = "email"    // an address as people write it, without a name or quotes, at most 254 bytes
	FormatPhone    = "phone"    // E.164: +, then 7 to 15 digits, the first not 0
	FormatURL      = "url"      // absolute, http or https, with a host
	FormatCountry  = "country"  // ISO 3166-1 alpha-2, upper case
	FormatLanguage = "language" // BCP 47, with hyphens, of registered subtags
)

// KnownFormat reports whether this version knows a format. Values of a format that it
// does not know are all rejected, so a schema should not name one.
func KnownFormat(name string) bool {
	switch name {
	case FormatEmail, FormatPhone, FormatURL, FormatCountry, FormatLanguage:
		return true
	}
	return false
}

func hasFormat(format, s string) bool {
	switch format {
	case FormatEmail:
		return isEmail(s)
	case FormatPhone:
		return isPhone(s)
	case FormatURL:
		return isURL(s)
	case FormatCountry:
		return isCountry(s)
	case FormatLanguage:
		return isLanguage(s)
	}
	return false
}

// Limits of an address: RFC 5321, 4.5.3.1, and the erratum on RFC 3696 for the whole;
// RFC 1035 for the labels of a domain.
const (
	maxEmail     = 254
	maxLocalPart = 64
	maxLabel     = 63
)

func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > maxLocalPart || len(s) > maxEmail || !isDomain(s[at+1:]) {
		return false
	}
	if isDotAtom(s[:at]) {
		return true // what nearly all are, many times faster than net/mail
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s
}

// isDotAtom reports whether s is an ASCII dot-atom of RFC 5322, 3.2.3.
func isDotAtom(s string) bool {
	dot := true // a dot may not come next
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case alphanumeric(c), strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0:
		default:
			return false
		}
		dot = false
	}
	return !dot
}

func alphanumeric(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' }

// isDomain reports whether s is a host name of at least two labels, ASCII or
// international. The last label is no number: that would be an IP address.
func isDomain(s string) bool {
	labels := 0
	for {
		label, rest, more := strings.Cut(s, ".")
		if !isLabel(label) {
			return false
		}
		labels++
		if !more {
			return labels > 1 && !allDigits(label)
		}
		s = rest
	}
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, r := range s {
		if r < 0x80 && !alphanumeric(byte(r)) && r != '-' || r >= 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			return false
		}
	}
	return true
}

func isPhone(s string) bool {
	return len(s) >= 8 && len(s) <= 16 && s[0] == '+' && s[1] != '0' && allDigits(s[1:])
}

func allDigits[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func isURL(s string) bool {
	if strings.ContainsAny(s, " \\\"<>^`{|}") {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

// countries are the 249 codes of ISO 3166-1 alpha-2, ascending.
const countries = "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZ" +
	"CACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFR" +
	"GAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJP" +
	"KEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZ" +
	"NANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURW" +
	"SASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZ" +
	"UAUGUMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW"

func isCountry(s string) bool {
	if len(s) != 2 {
		return false
	}
	at := 2 * sort.Search(len(countries)/2, func(i int) bool { return countries[2*i:2*i+2] >= s })
	return at < len(countries) && countries[at:at+2] == s
}

// maxLanguage is far above any tag in use; the parser is asked nothing longer.
const maxLanguage = 64

func isLanguage(s string) bool {
	if s == "" || len(s) > maxLanguage || strings.ContainsRune(s, '_') {
		return false
	}
	_, err := language.Parse(s)
	return err == nil
}
