namespace AllocTools.Tests.Model;

/// <summary>What a request must come to.</summary>
/// <param name="Kind">What.</param>
/// <param name="Owner">Where a buffer must come from: a class, or the direct regions.</param>
internal readonly record struct Outcome(OutcomeKind Kind, int Owner = -1);
