namespace AllocTools.Libfabric;

/// <summary>The meaning of a completed write or send (the completion levels of fi_cq(3)).</summary>
public enum LibfabricCompletionLevel
{
    /// <summary>
    /// The bytes are in the peer's memory (FI_DELIVERY_COMPLETE). If the provider can't guarantee this, opening the
    /// endpoint fails.
    /// </summary>
    Delivery = 0,

    /// <summary>
    /// The provider's own default: at least, the buffer may be reused. The peer may not have the bytes yet, or may
    /// never get them.
    /// </summary>
    Transmit = 1,
}
