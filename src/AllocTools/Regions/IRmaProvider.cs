using System.Diagnostics.CodeAnalysis;
using AllocTools.Providers;

namespace AllocTools.Regions;

/// <summary>
/// The interface to implement for a new transport. A provider with options describes them by <see cref="Descriptor"/>;
/// one without options is created by the container, so its constructor may request any service, and a
/// <see cref="RmaProviderActivation"/>, which names its pool.
/// </summary>
public interface IRmaProvider
{
    /// <summary>
    /// Describes the provider's options, how they are bound and validated, and how the provider is created from them.
    /// It must return the same object at each call. By default it is null: there are no options, and the container
    /// creates the provider.
    /// </summary>
    [Experimental(ExperimentalId.Providers)]
    static virtual RmaProviderDescriptor? Descriptor => null;

    /// <summary>Opens the transport.</summary>
    /// <returns>A context, of which the caller owns one reference.</returns>
    /// <exception cref="RmaProviderException">It can't be opened; the message explains what to do.</exception>
    IRmaContext Open();
}
