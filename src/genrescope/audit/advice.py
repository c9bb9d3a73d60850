"""What to do about a finding, in a sentence: for people who train models, and for owners of music."""

from __future__ import annotations

from typing import Final

from genrescope.audit.findings import Finding

_TRAINING: Final = {
    "drop": "Leave it out: train --exclude, or audit --apply.",
    "relabel": "Correct the label after a listen; audit --apply writes it into a new manifest.",
    "group": "Keep these tracks in one part of the split: audit --groups writes groups.",
    "repair": "Get a better copy, or repair this one.",
    "check": "Listen to it and decide.",
    "none": "Nothing has to be done.",
}
_KINDS: Final = {
    "missing": "Correct the path, or leave the track out.",
    "unreadable": "Copy the file again from its source, or leave it out.",
    "not_analyzed": "Look at the file by itself, with a larger --timeout; otherwise leave it out.",
    "truncated": "Copy or download the file again; the end is missing.",
    "header_mismatch": "Write the file again without another coding, such as with ffmpeg -c copy.",
    "dataset_issue": "Correct this in the data set or its manifest.",
    "label_conflict": "Find out which label is right, or leave all of these tracks out.",
    "label_spelling": "Use one spelling; audit --apply writes the more frequent one.",
    "class_imbalance": "Compare models by macro F1, or add tracks of the rare labels.",
    "too_few_groups": "Choose another --protocol or fewer --folds, or add tracks.",
    "groups_unknown": "Give the data set groups: audit --groups proposes them.",
    "other_version": "Keep both; for an honest test keep them in one part of the split.",
}
_OWNER: Final = {
    "missing": "Connect the disk if it is elsewhere; 'library prune' removes its row.",
    "unreadable": "Copy the file again from its source.",
    "empty": "Copy the file again from its source.",
    "not_analyzed": "Look at the file by itself: 'library scan --retry-failed' tries it again.",
    "header_mismatch": "Write the file again without another coding, such as with ffmpeg -c copy.",
    "other_version": "Nothing has to be done; these are two versions of a song.",
    "tag_disagrees": "Listen, then correct the tag by hand, or see 'library tag --overwrite'.",
    "dual_mono": "Nothing has to be done.",
    "wrong_speed": "Listen to both, and keep the one that plays at the right speed.",
}
_OWNER_ACTIONS: Final = {
    "drop": "Get another copy of the file, or live without it.",
    "group": "Listen to them and decide.",
    "relabel": "Listen, then correct the tag.",
    "repair": "Get a better copy: rip or download it again.",
}


def advice(finding: Finding, *, owner: bool = False) -> str:
    """Return what to do about a finding.

    Parameters
    ----------
    finding : Finding
    owner : bool
        For the owner of a collection, in place of somebody who trains models.
    """
    keep = finding.evidence.get("keep")
    if keep and finding.drop and finding.section == "duplicate":
        others = len(finding.drop)
        rest = f"the other {others}" if others > 1 else "the other one"
        if owner:
            return f"Keep {keep}; {rest} may go, once you have listened. Nothing is deleted for you."
        return f"Keep {keep} and leave {rest} out: train --exclude, or audit --apply."
    if owner:
        usual = _OWNER_ACTIONS.get(finding.action, _TRAINING[finding.action])
        return _OWNER.get(finding.kind, usual)
    if finding.kind == "label_suspect" and finding.label:
        return f"Listen; if it is {finding.label!r}, correct the label, or have audit --apply write it."
    return _KINDS.get(finding.kind, _TRAINING[finding.action])
