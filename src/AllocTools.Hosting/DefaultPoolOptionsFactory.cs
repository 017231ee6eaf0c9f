using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>Creates the options of the unnamed pool and of its provider under both of its names.</summary>
/// <param name="key">The pool's key, with the name under which it was added.</param>
/// <param name="setups">The delegates that set options.</param>
/// <param name="lateSetups">The delegates that set options after all others.</param>
/// <param name="rules">The validators.</param>
internal sealed class DefaultPoolOptionsFactory<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions>(
    PoolKey key,
    IEnumerable<IConfigureOptions<TOptions>> setups,
    IEnumerable<IPostConfigureOptions<TOptions>> lateSetups,
    IEnumerable<IValidateOptions<TOptions>> rules) : IOptionsFactory<TOptions>
    where TOptions : class
{
    private readonly OptionsFactory<TOptions> _factory = new(setups, lateSetups, rules);

    public TOptions Create(string name) => _factory.Create(PoolKey.IsNameOfDefault(name) ? key.Name : name);
}
