namespace AllocTools;

/// <summary>A registration that failed.</summary>
/// <param name="Time">When.</param>
/// <param name="Message">The provider's message.</param>
public sealed record RmaRegistrationFailure(DateTimeOffset Time, string Message);
