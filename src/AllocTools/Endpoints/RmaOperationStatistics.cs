namespace AllocTools.Endpoints;

/// <summary>The statistics of an endpoint's operations of one kind.</summary>
public sealed record RmaOperationStatistics
{
    /// <summary>The kind of operation.</summary>
    public required RmaOperationKind Kind { get; init; }

    /// <summary>The number of operations that succeeded.</summary>
    public required long Succeeded { get; init; }

    /// <summary>The number of bytes that the successful operations moved.</summary>
    public required long Bytes { get; init; }

    /// <summary>
    /// The number of operations that failed or were cancelled, by the symbol of the error (<c>ECANCELED</c>),
    /// <c>cancelled</c>, or the exception's type. At most 32 kinds are distinguished; further ones count as <c>_OTHER</c>.
    /// </summary>
    public required IReadOnlyDictionary<string, long> FailuresByError { get; init; }

    /// <summary>How often an operation was repeated (<see cref="RmaEndpointOptions.Retry"/>). Each failed attempt is counted in <see cref="FailuresByError"/>.</summary>
    public long Retries { get; init; }

    /// <summary>The number of all failed operations.</summary>
    public long Failed => FailuresByError.Values.Sum();
}
