using System.Reflection;
using System.Runtime.CompilerServices;
using AllocTools.Libfabric.Interop;
using AllocTools.Testing;

namespace AllocTools.Libfabric.Tests.Interop;

/// <summary>The declarations of the binding, found by reflection.</summary>
internal static class NativeBinding
{
    /// <summary>Value types of the binding that are not C structures.</summary>
    private static readonly Dictionary<string, string> Managed = new()
    {
        [nameof(LibfabricExports)] = "holds exported functions; their signatures are checked",
        [nameof(FidLease)] = "a scope of a handle",
    };

    private static readonly Type[] All = [.. typeof(fid).Assembly.GetTypes()
        .Where(type => type.Namespace == typeof(fid).Namespace && !type.IsDefined(typeof(CompilerGeneratedAttribute)) && !type.IsNested)
        .OrderBy(type => type.Name, StringComparer.Ordinal)];

    public static IEnumerable<Type> Structs => All.Where(type => type.IsValueType && !type.IsEnum && !Managed.ContainsKey(type.Name));

    public static IEnumerable<Type> Enums => All.Where(type => type.IsEnum);

    /// <summary>Returns every constant with its C# name and its value.</summary>
    public static IEnumerable<(Type Type, string Name, long Value)> Constants()
    {
        foreach (Type type in Enums)
            foreach (FieldInfo field in type.GetFields(BindingFlags.Public | BindingFlags.Static))
                yield return (type, field.Name, ToInt64(field.GetRawConstantValue()!));

        foreach (Type type in All.Where(type => type.IsAbstract && type.IsSealed))
        {
            foreach (FieldInfo field in type.GetFields(BindingFlags.Public | BindingFlags.Static))
                yield return (type, field.Name, ToInt64(field.GetRawConstantValue()!));
            foreach (PropertyInfo property in type.GetProperties(BindingFlags.Public | BindingFlags.Static))
                yield return (type, property.Name, ToInt64(property.GetValue(null)!));
        }
    }

    public static FieldInfo[] FieldsOf(Type type) => type.GetFields(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance);

    /// <summary>Returns the size of a field, or of all its elements if it is an array in C.</summary>
    public static long SizeOf(FieldInfo field)
        => NativeLayout.SizeOf(field.FieldType) * (field.DeclaringType!.GetCustomAttribute<InlineArrayAttribute>()?.Length ?? 1);

    private static long ToInt64(object value)
        => value is ulong bits ? unchecked((long)bits) : Convert.ToInt64(value, System.Globalization.CultureInfo.InvariantCulture);
}
