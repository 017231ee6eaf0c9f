namespace AllocTools.Endpoints;

/// <summary>What became of an endpoint's operations of one kind.</summary>
public sealed record RmaOperationStatistics
{
    /// <summary>The kind.</summary>
    public required RmaOperationKind Kind { get; init; }

    /// <summary>Operations that completed well.</summary>
    public required long Succeeded { get; init; }

    /// <summary>The bytes that those moved.</summary>
    public required long Bytes { get; init; }

    /// <summary>
    /// Operations that failed or were given up, by the symbol of the error (<c>ECANCELED</c>), <c>cancelled</c>, or the
    /// exception's type. At most 32 kinds are told apart; further ones are <c>_OTHER</c>.
    /// </summary>
    public required IReadOnlyDictionary<string, long> FailuresByError { get; init; }

    /// <summary>All that failed.</summary>
    public long Failed => FailuresByError.Values.Sum();
}
