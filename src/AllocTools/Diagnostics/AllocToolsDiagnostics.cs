namespace AllocTools.Diagnostics;

/// <summary>The names under which the library can be listened to.</summary>
public static class AllocToolsDiagnostics
{
    /// <summary>The name of the meter that <see cref="RmaMetrics"/> publishes through.</summary>
    public const string MeterName = "AllocTools";

    /// <summary>The name of the activity source of provider openings, registrations and deregistrations.</summary>
    public const string ActivitySourceName = "AllocTools";

    /// <summary>The name of the activity source of endpoint operations: a span for each, which is much.</summary>
    public const string OperationActivitySourceName = "AllocTools.Operations";
}
