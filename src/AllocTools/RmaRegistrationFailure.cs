namespace AllocTools;

/// <summary>A registration that failed.</summary>
/// <param name="Time">When.</param>
/// <param name="Message">What the provider said of it.</param>
public sealed record RmaRegistrationFailure(DateTimeOffset Time, string Message);
