namespace AllocTools.Endpoints;

/// <summary>A message that was received.</summary>
/// <param name="Length">Its length, in bytes.</param>
/// <param name="Sender">Who sent it; null where the transport can't tell (<see cref="Regions.RmaProviderTraits.SendersAreKnown"/>), and for a peer that isn't inserted at this endpoint.</param>
public readonly record struct RmaReceiveResult(long Length, RmaPeer? Sender)
{
    /// <summary>The length alone.</summary>
    /// <param name="result">The message.</param>
    public static implicit operator long(RmaReceiveResult result) => result.Length;

    /// <inheritdoc cref="Length"/>
    public long ToInt64() => Length;
}
