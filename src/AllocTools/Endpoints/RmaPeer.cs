namespace AllocTools;

/// <summary>A peer that was inserted at an endpoint. Valid for that endpoint only.</summary>
/// <param name="Owner">The endpoint that inserted it.</param>
/// <param name="Handle">The endpoint's own number for it (fi_addr_t), which another may have once it was removed.</param>
public readonly record struct RmaPeer(IRmaEndpoint Owner, ulong Handle)
{
    /// <summary>Which of the peers that have had the number it is: transports give numbers again.</summary>
    internal long Generation { get; init; }

    /// <summary>The number alone.</summary>
    public override string ToString() => $"peer {Handle}";
}
