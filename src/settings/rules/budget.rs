//! The budget of replacements.

use crate::core::policy::{Budget, Share};
use crate::settings::options::Replacement;
use crate::values::error::StartError;

/// The budget; an error if it would never allow a replacement with this number of workers.
pub(crate) fn resolve(replacement: &Replacement, workers: u32) -> Result<Budget, StartError> {
    let Replacement { max_surge, max_unavailable, replacement_gap: gap, .. } = *replacement;
    let budget = Budget { max_surge, max_unavailable, gap };
    if !budget.is_none(workers) {
        return Ok(budget);
    }
    let remedy = "raise one of them";
    Err(match max_unavailable {
        Share::Number(_) | Share::Percent(0) => {
            let problem = "nothing could ever be replaced while --max-unavailable is 0 too";
            StartError::value("--max-surge", max_surge, problem, remedy)
        }
        Share::Percent(_) => {
            let problem = format!(
                "of {workers} workers that is none, and nothing could be replaced while --max-surge is 0 too"
            );
            StartError::value("--max-unavailable", max_unavailable, problem, remedy)
        }
    })
}
