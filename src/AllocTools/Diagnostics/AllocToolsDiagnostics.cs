namespace AllocTools.Diagnostics;

/// <summary>The names of the library's meter and activity sources.</summary>
public static class AllocToolsDiagnostics
{
    /// <summary>The name of the meter that <see cref="RmaMetrics"/> publishes through.</summary>
    public const string MeterName = "AllocTools";

    /// <summary>The name of the activity source of provider openings, registrations and deregistrations.</summary>
    public const string ActivitySourceName = "AllocTools";

    /// <summary>The name of the activity source of endpoint operations: each operation has a span, which is expensive.</summary>
    public const string OperationActivitySourceName = "AllocTools.Operations";
}
