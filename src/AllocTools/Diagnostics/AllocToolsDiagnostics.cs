namespace AllocTools.Diagnostics;

/// <summary>The names under which the library can be listened to.</summary>
public static class AllocToolsDiagnostics
{
    /// <summary>The name of the meter that <see cref="RmaPoolMetrics"/> publishes through.</summary>
    public const string MeterName = "AllocTools";

    /// <summary>The name of the activity source.</summary>
    public const string ActivitySourceName = "AllocTools";
}
