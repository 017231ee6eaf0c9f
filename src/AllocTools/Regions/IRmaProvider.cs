namespace AllocTools.Regions;

/// <summary>
/// What somebody who has another transport writes. Made by the container, so the constructor may ask for any service,
/// and for a <see cref="RmaProviderActivation"/> that tells which pool it is for.
/// </summary>
public interface IRmaProvider
{
    /// <summary>Opens the transport.</summary>
    /// <returns>A context that the caller owns one reference of.</returns>
    /// <exception cref="RmaProviderException">It can't be opened; the message says what to do.</exception>
    IRmaContext Open();
}
