using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints;
using AllocTools.Regions;

namespace AllocTools.Providers;

/// <summary>
/// What <c>AddRmaMemoryPool</c> must know of a provider that has options: what they are, how they are bound and checked,
/// how the provider is made of them. See <see cref="RmaProviderDescriptor{TOptions}"/>.
/// </summary>
/// <remarks>Safe to use from any thread.</remarks>
[Experimental(ExperimentalId.Providers)]
public abstract class RmaProviderDescriptor
{
    /// <summary>The subsection of a pool's section that a provider's options stand in, unless it says otherwise.</summary>
    public const string DefaultSectionName = "Provider";

    private protected RmaProviderDescriptor(IReadOnlyList<RmaOptionKey> keys) => Keys = keys;

    /// <summary>The type of the options.</summary>
    public abstract Type OptionsType { get; }

    /// <summary>The keys of the provider's section.</summary>
    public IReadOnlyList<RmaOptionKey> Keys { get; }

    /// <summary>
    /// The subsection of the pool's section that the options stand in. Default: <see cref="DefaultSectionName"/>, so that
    /// one section serves whichever provider the application chooses when it runs.
    /// </summary>
    /// <exception cref="ArgumentException">The name is empty or has a colon.</exception>
    public string SectionName
    {
        get;
        init
        {
            ArgumentException.ThrowIfNullOrEmpty(value);
            if (value.Contains(':', StringComparison.Ordinal))
                throw new ArgumentException($"'{value}' is no name of a section: a colon separates keys.", nameof(value));
            field = value;
        }
    } = DefaultSectionName;

    /// <summary>
    /// Keys that may stand in the section and are another provider's, for an application that chooses the provider when it
    /// runs; with their path where they stand in a subsection that both have, such as <c>Endpoint:Port</c>. Default: none; each key that is not the provider's own is a mistake.
    /// </summary>
    public IReadOnlyCollection<string> ForeignKeys { get; init; } = [];

    /// <summary>
    /// The type of the endpoints, by which services may then ask for the pool's, beside <see cref="IRmaEndpoint"/>.
    /// Default: null, none.
    /// </summary>
    /// <exception cref="ArgumentException">The type is no <see cref="IRmaEndpoint"/>.</exception>
    public Type? EndpointType
    {
        get;
        init
        {
            if (value is not null && !value.IsAssignableTo(typeof(IRmaEndpoint)))
                throw new ArgumentException($"{value} is no {nameof(IRmaEndpoint)}.", nameof(value));
            field = value;
        }
    }

    /// <summary>Makes the provider of a pool.</summary>
    /// <param name="services">The container, which has the options.</param>
    /// <param name="poolName">The name of the options.</param>
    public abstract IRmaProvider Create(IServiceProvider services, string poolName);

    /// <summary>Calls the visitor with the options' type.</summary>
    /// <param name="visitor">The visitor.</param>
    public abstract void Accept(IRmaProviderDescriptorVisitor visitor);
}
