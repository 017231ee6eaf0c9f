namespace AllocTools.Diagnostics;

/// <summary>The names and values of the tags of metrics and spans. They never contain an address, a key or a peer.</summary>
internal static class RmaTags
{
    public const string PoolName = "rma.pool.name";
    public const string Provider = "rma.provider";
    public const string SizeClass = "rma.size_class";
    public const string State = "rma.state";
    public const string Operation = "rma.operation";
    public const string ErrorType = "error.type";

    /// <summary>The outcome of a change of the configuration.</summary>
    public const string Outcome = "rma.outcome";

    /// <summary>Why a registration cache has dropped a registration.</summary>
    public const string Reason = "rma.reason";

    /// <summary>The length in bytes.</summary>
    public const string Length = "rma.length";

    /// <summary>The number of operations in a batch.</summary>
    public const string Count = "rma.batch.count";

    public const string Rented = "rented";
    public const string Idle = "idle";
    public const string Running = "running";
    public const string Abandoned = "abandoned";
    public const string Unclaimed = "unclaimed";

    public const string Accepted = "accepted";
    public const string Rejected = "rejected";

    /// <summary>
    /// The size class of registrations outside all classes: those of exposures of their own, and those that could not
    /// be undone.
    /// </summary>
    public const string Exposure = "exposure";

    /// <summary>The name of further kinds of errors once there are many (an OpenTelemetry convention).</summary>
    public const string OtherError = "_OTHER";

    /// <summary>
    /// Returns the name of an error: its symbol without libfabric's prefix, such as ENOMEM, or otherwise its type.
    /// </summary>
    public static string ErrorTypeOf(Exception error) => error switch
    {
        RmaException { ErrorName: { Length: > 0 } name } => name.StartsWith("FI_", StringComparison.Ordinal) ? name[3..] : name,
        OperationCanceledException => "cancelled",
        _ => error.GetType().FullName!,
    };

    public static KeyValuePair<string, object?> Tag(string name, object? value) => new(name, value);
}
