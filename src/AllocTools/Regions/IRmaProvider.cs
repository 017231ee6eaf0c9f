using System.Diagnostics.CodeAnalysis;
using AllocTools.Providers;

namespace AllocTools.Regions;

/// <summary>
/// What somebody who has another transport writes. A provider that has options describes them by <see cref="Descriptor"/>;
/// one that has none is made by the container, so its constructor may ask for any service, and for a
/// <see cref="RmaProviderActivation"/> that tells which pool it is for.
/// </summary>
public interface IRmaProvider
{
    /// <summary>
    /// The provider's options, how they are bound and checked, and how the provider is made of them; the same object at each
    /// call. Null, unless the provider says otherwise: there are none, and the container makes it.
    /// </summary>
    [Experimental(ExperimentalId.Providers)]
    static virtual RmaProviderDescriptor? Descriptor => null;

    /// <summary>Opens the transport.</summary>
    /// <returns>A context that the caller owns one reference of.</returns>
    /// <exception cref="RmaProviderException">It can't be opened; the message says what to do.</exception>
    IRmaContext Open();
}
