namespace AllocTools.Tests.Model;

/// <summary>The expected outcome of a request.</summary>
/// <param name="Kind">The kind of outcome.</param>
/// <param name="Owner">The expected owner of the buffer: a class, or the direct regions.</param>
internal readonly record struct Outcome(OutcomeKind Kind, int Owner = -1);
