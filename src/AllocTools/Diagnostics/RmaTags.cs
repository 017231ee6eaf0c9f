namespace AllocTools.Diagnostics;

/// <summary>The names and values of the tags of metrics and spans. Never an address, a key or a peer.</summary>
internal static class RmaTags
{
    public const string PoolName = "rma.pool.name";
    public const string Provider = "rma.provider";
    public const string SizeClass = "rma.size_class";
    public const string State = "rma.state";
    public const string Operation = "rma.operation";
    public const string ErrorType = "error.type";

    /// <summary>What became of a change of the configuration.</summary>
    public const string Outcome = "rma.outcome";

    /// <summary>Why a registration cache has let a registration go.</summary>
    public const string Reason = "rma.reason";

    /// <summary>Bytes of a span.</summary>
    public const string Length = "rma.length";

    /// <summary>Operations of a batch's span.</summary>
    public const string Count = "rma.batch.count";

    public const string Rented = "rented";
    public const string Idle = "idle";
    public const string Running = "running";
    public const string Abandoned = "abandoned";
    public const string Unclaimed = "unclaimed";

    public const string Accepted = "accepted";
    public const string Rejected = "rejected";

    /// <summary>The size class of registrations that no class has: those of exposures of their own, and those that could not be undone.</summary>
    public const string Exposure = "exposure";

    /// <summary>What further errors are called once there are many kinds (an OpenTelemetry convention).</summary>
    public const string OtherError = "_OTHER";

    /// <summary>What an error is called: its symbol without libfabric's prefix, such as ENOMEM, or else its type.</summary>
    public static string ErrorTypeOf(Exception error) => error switch
    {
        RmaException { ErrorName: { Length: > 0 } name } => name.StartsWith("FI_", StringComparison.Ordinal) ? name[3..] : name,
        OperationCanceledException => "cancelled",
        _ => error.GetType().FullName!,
    };

    public static KeyValuePair<string, object?> Tag(string name, object? value) => new(name, value);
}
