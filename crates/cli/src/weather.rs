//! Simulated weather: values that drift as real ones do, the same for the same seed.
//!
//! No clock and no MQTT here: whoever wants the next reading asks for it.

/// What a sensor measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    /// In °C.
    pub(crate) temperature: f64,
    /// In per cent.
    pub(crate) humidity: f64,
    /// In hPa.
    pub(crate) pressure: f64,
}

/// A place with weather.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    chance: fastrand::Rng,
    temperature: Drift,
    humidity: Drift,
    pressure: Drift,
}

impl Weather {
    /// A place whose weather `seed` decides.
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let temperature = Drift::new(&mut chance, 15.0..30.0, 0.3);
        let humidity = Drift::new(&mut chance, 40.0..80.0, 0.8);
        let pressure = Drift::new(&mut chance, 995.0..1_030.0, 0.4);
        Self { chance, temperature, humidity, pressure }
    }

    /// The next reading, with one digit behind the point.
    pub(crate) fn next(&mut self) -> Reading {
        Reading {
            temperature: self.temperature.next(&mut self.chance),
            humidity: self.humidity.next(&mut self.chance),
            pressure: self.pressure.next(&mut self.chance),
        }
    }
}

/// A value that moves by small steps and is drawn back to the middle of its range.
#[derive(Clone, Debug)]
struct Drift {
    value: f64,
    range: std::ops::Range<f64>,
    step: f64,
}

/// By which part of its distance a value is drawn back to the middle in one step.
const PULL: f64 = 0.02;

impl Drift {
    fn new(chance: &mut fastrand::Rng, range: std::ops::Range<f64>, step: f64) -> Self {
        let width = range.end - range.start;
        let value = range.start + width * (0.25 + chance.f64() / 2.0);
        Self { value, range, step }
    }

    fn next(&mut self, chance: &mut fastrand::Rng) -> f64 {
        let middle = f64::midpoint(self.range.start, self.range.end);
        // The sum of two is small more often than large.
        let noise = chance.f64() + chance.f64() - 1.0;
        let moved = self.value + (middle - self.value) * PULL + noise * self.step;
        self.value = moved.clamp(self.range.start, self.range.end);
        (self.value * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_drift_within_their_ranges_and_never_jump() {
        for seed in 0..20 {
            let mut weather = Weather::new(seed);
            let mut last = weather.next();
            for _ in 0..2_000 {
                let next = weather.next();
                assert!((15.0..=30.0).contains(&next.temperature), "{next:?}");
                assert!((40.0..=80.0).contains(&next.humidity), "{next:?}");
                assert!((995.0..=1_030.0).contains(&next.pressure), "{next:?}");
                assert!((next.temperature - last.temperature).abs() < 0.8, "{last:?} {next:?}");
                assert!((next.pressure - last.pressure).abs() < 1.2, "{last:?} {next:?}");
                last = next;
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_weather_and_another_one_other() {
        let first = |seed| Weather::new(seed).next();
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }
}
