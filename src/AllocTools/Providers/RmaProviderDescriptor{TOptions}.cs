using System.Diagnostics.CodeAnalysis;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace AllocTools.Providers;

/// <summary>
/// Describes a provider with options to <c>AddRmaMemoryPool</c>. The provider returns it as
/// <see cref="IRmaProvider.Descriptor"/>; it is the same for all pools of the provider.
/// </summary>
/// <typeparam name="TOptions"> The type of the options. The options of a pool have the pool's name; the application
/// may set more of them with the builder's <c>ConfigureProvider</c>.
/// </typeparam>
/// <param name="keys">The keys of the provider's section, each with the option that it sets.</param>
/// <param name="create">Creates the provider of a pool from its options, which are valid, and from other services of the container.</param>
/// <exception cref="ArgumentNullException">An argument is null.</exception>
[Experimental(ExperimentalId.Providers)]
public sealed class RmaProviderDescriptor<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
    RmaOptionKeys<TOptions> keys,
    Func<TOptions, IServiceProvider, IRmaProvider> create) : RmaProviderDescriptor(keys ?? throw new ArgumentNullException(nameof(keys)))
    where TOptions : class
{
    private readonly Func<TOptions, IServiceProvider, IRmaProvider> _create = create ?? throw new ArgumentNullException(nameof(create));

    /// <inheritdoc/>
    public override Type OptionsType => typeof(TOptions);

    /// <summary>
    /// The validator of the options; may be null. A failure starts with the option's name, such as
    /// <c>Endpoint:SpinTime is …</c>; the path of the section, or the pool's name, is added before it.
    /// </summary>
    public IValidateOptions<TOptions>? Validator { get; init; }

    /// <inheritdoc/>
    public override IRmaProvider Create(IServiceProvider services, string poolName) =>
        _create(services.GetRequiredService<IOptionsMonitor<TOptions>>().Get(poolName), services);

    /// <inheritdoc/>
    public override void Accept(IRmaProviderDescriptorVisitor visitor)
    {
        ArgumentNullException.ThrowIfNull(visitor);
        visitor.Visit(this);
    }
}
