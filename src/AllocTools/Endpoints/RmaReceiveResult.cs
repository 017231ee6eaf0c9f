namespace AllocTools.Endpoints;

/// <summary>A message that was received.</summary>
/// <param name="Length">The length of the message in bytes.</param>
/// <param name="Sender">The sender; null if the transport can't identify it
/// (<see cref="Regions.RmaProviderTraits.SendersAreKnown"/>), or if the peer isn't inserted at this endpoint.</param>
public readonly record struct RmaReceiveResult(long Length, RmaPeer? Sender)
{
    /// <summary>Returns the length alone.</summary>
    /// <param name="result">The message.</param>
    public static implicit operator long(RmaReceiveResult result) => result.Length;

    /// <inheritdoc cref="Length"/>
    public long ToInt64() => Length;
}
