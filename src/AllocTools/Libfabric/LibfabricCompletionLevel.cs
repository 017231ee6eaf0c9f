namespace AllocTools.Libfabric;

/// <summary>What a completed write or send means (the completion levels of fi_cq(3)).</summary>
public enum LibfabricCompletionLevel
{
    /// <summary>The bytes are in the peer's memory (FI_DELIVERY_COMPLETE). Where the provider can't promise it, opening the endpoint fails.</summary>
    Delivery = 0,

    /// <summary>The provider's own default: at least, the buffer may be used again. The peer may not have the bytes yet, or ever.</summary>
    Transmit = 1,
}
