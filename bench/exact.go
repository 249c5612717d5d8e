package bench

import "math"

// The functions of this file return the same bits on every machine. Those of package
// math do not promise that: some are assembly on some processors, and the compiler may
// fuse x*y + z where a fused instruction exists. A conversion, float64(x*y), forbids
// it (Go specification, "Floating-point operators"); Sqrt, Frexp and Ldexp are exact
// by definition. Accuracy is about 1 ulp, which the data does not need.

const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
	log2e = 1.44269504088896338700e+00
)

// exactExp returns e^x for -700 <= x <= 700 (the method of FreeBSD's e_exp.c).
func exactExp(x float64) float64 {
	k := math.Floor(float64(log2e*x) + 0.5)
	hi := x - float64(k*ln2Hi)
	lo := float64(k * ln2Lo)
	r := hi - lo
	t := float64(r * r)
	c := r - float64(t*horner(t, &expPoly))
	y := 1 - ((lo - float64(r*c)/(2-c)) - hi)
	return math.Ldexp(y, int(k))
}

// exactLog returns the natural logarithm of a positive, normal x (the method of
// FreeBSD's e_log.c).
func exactLog(x float64) float64 {
	frac, exponent := math.Frexp(x)
	if frac < math.Sqrt2/2 {
		frac *= 2
		exponent--
	}
	f, k := frac-1, float64(exponent)
	s := f / (2 + f)
	s2 := float64(s * s)
	s4 := float64(s2 * s2)
	r := float64(s2*horner(s4, &logOdd)) + float64(s4*horner(s4, &logEven))
	half := float64(0.5 * float64(f*f))
	return float64(k*ln2Hi) - ((half - (float64(s*(half+r)) + float64(k*ln2Lo))) - f)
}

// exactPow returns x^y for a positive, normal x.
func exactPow(x, y float64) float64 { return exactExp(float64(y * exactLog(x))) }

// normalQuantile returns the z with Phi(z) = p, for 0 < p < 1 (M. J. Wichura,
// algorithm AS 241, PPND16).
func normalQuantile(p float64) float64 {
	q := p - 0.5
	if math.Abs(q) <= 0.425 {
		r := 0.180625 - float64(q*q)
		return float64(q*horner(r, &midNum)) / horner(r, &midDen)
	}
	tail := p
	if q > 0 {
		tail = 1 - p
	}
	r := math.Sqrt(-exactLog(tail))
	var z float64
	if r <= 5 {
		z = horner(r-1.6, &tailNum) / horner(r-1.6, &tailDen)
	} else {
		z = horner(r-5, &farNum) / horner(r-5, &farDen)
	}
	if q < 0 {
		return -z
	}
	return z
}

// horner returns c[0] + c[1] x + c[2] x^2 + ...
func horner(x float64, c *[8]float64) float64 {
	y := c[7]
	for i := 6; i >= 0; i-- {
		y = float64(y*x) + c[i]
	}
	return y
}

var (
	expPoly = [8]float64{1.66666666666666657415e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05,
		-1.65339022054652515390e-06, 4.13813679705723846039e-08}
	logOdd = [8]float64{6.666666666666735130e-01, 2.857142874366239149e-01, 1.818357216161805012e-01,
		1.479819860511658591e-01}
	logEven = [8]float64{3.999999999940941908e-01, 2.222219843214978396e-01, 1.531383769920937332e-01}

	midNum = [8]float64{3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
		4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3}
	midDen = [8]float64{1, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
		2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3}
	tailNum = [8]float64{1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
		1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4}
	tailDen = [8]float64{1, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
		1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9}
	farNum = [8]float64{6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
		2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7}
	farDen = [8]float64{1, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
		7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15}
)
