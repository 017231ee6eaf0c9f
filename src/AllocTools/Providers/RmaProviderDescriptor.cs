using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints;
using AllocTools.Regions;

namespace AllocTools.Providers;

/// <summary>
/// Describes a provider with options to <c>AddRmaMemoryPool</c>: the options' type, how they are bound and validated,
/// and how the provider is created from them. See <see cref="RmaProviderDescriptor{TOptions}"/>.
/// </summary>
/// <remarks>It is safe to use from any thread.</remarks>
[Experimental(ExperimentalId.Providers)]
public abstract class RmaProviderDescriptor
{
    /// <summary>The default name of the subsection of a pool's section that contains a provider's options.</summary>
    public const string DefaultSectionName = "Provider";

    private protected RmaProviderDescriptor(IReadOnlyList<RmaOptionKey> keys) => Keys = keys;

    /// <summary>The type of the options.</summary>
    public abstract Type OptionsType { get; }

    /// <summary>The keys of the provider's section.</summary>
    public IReadOnlyList<RmaOptionKey> Keys { get; }

    /// <summary>
    /// The subsection of the pool's section that contains the options. Default: <see cref="DefaultSectionName"/>, so
    /// that one section serves any provider that the application chooses at run time.
    /// </summary>
    /// <exception cref="ArgumentException">The name is empty or has a colon.</exception>
    public string SectionName
    {
        get;
        init
        {
            ArgumentException.ThrowIfNullOrEmpty(value);
            if (value.Contains(':', StringComparison.Ordinal))
                throw new ArgumentException($"'{value}' is not a valid name of a section: it must not contain a colon, which separates keys.", nameof(value));
            field = value;
        }
    } = DefaultSectionName;

    /// <summary>
    /// Keys of other providers that the section may have, for an application that chooses the provider at run time.
    /// Keys in a subsection that both providers have are given with their path, such as <c>Endpoint:Port</c>. Default:
    /// none; any key that is not the provider's own is an error.
    /// </summary>
    public IReadOnlyCollection<string> ForeignKeys { get; init; } = [];

    /// <summary>
    /// The type of the endpoints, by which services may request the pool's endpoint, in addition to
    /// <see cref="IRmaEndpoint"/>. Default: null, which means no other type.
    /// </summary>
    /// <exception cref="ArgumentException">The type does not implement <see cref="IRmaEndpoint"/>.</exception>
    public Type? EndpointType
    {
        get;
        init
        {
            if (value is not null && !value.IsAssignableTo(typeof(IRmaEndpoint)))
                throw new ArgumentException($"{value} must implement {nameof(IRmaEndpoint)}.", nameof(value));
            field = value;
        }
    }

    /// <summary>Creates the provider of a pool.</summary>
    /// <param name="services">The container, which provides the options.</param>
    /// <param name="poolName">The name of the options.</param>
    public abstract IRmaProvider Create(IServiceProvider services, string poolName);

    /// <summary>Calls the visitor with the options' type.</summary>
    /// <param name="visitor">The visitor.</param>
    public abstract void Accept(IRmaProviderDescriptorVisitor visitor);
}
